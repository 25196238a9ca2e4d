import { Script } from '../connection/script.js';
import { DEADLINE_OF } from './deadline-of.lua.js';

/** See the header of the script. */
export const SWEEP = new Script(`
-- SWEEP: looks at keys of the server that holds the index, and settles them in the same step.
-- KEYS    index, events, lease, swept
-- ARGV    token, number of the request, of each key one character: 'e' its expiry was announced,
--         'd' it was gone at an earlier look and nothing was announced before that, '-' neither; then
--         the keys, each once: some hundreds, about 2 us each; with none, older requests are refused
--         from now on. They are not declared, see DEADLINE_OF
-- returns a line: number, now in epoch ms, when the first key runs out that lives (-1 none), of each
--         key one character, token. The characters:
--         'a' alive; the index knows when to look again, or that it has no deadline any more
--         'r' removed by this very look, which proves that it expired: appended
--         'e' gone, and its expiry was announced: appended
--         'd' gone, and 'd' was said: it was deleted, and is out of the index
--         'n' gone, and not in the index: nothing to do
--         '?' gone, and nothing tells why: nothing was done
--         'x' the ACL forbids the key: nothing can be told of it; where it is due it is out of the index
-- Safe: only the holder of the lease is heard. Nothing else runs between look and settling, so no
-- score has to be compared. A request may be sent again after a lost reply: the newest one is noted
-- with its line, and an older one that comes late does nothing. Nothing is written before all keys
-- were looked at: where the number of keys falls across a look, that look removed the key. The append
-- comes first: a server out of memory refuses it before anything was settled, and what the looks
-- removed is announced.
if redis.call('GET', KEYS[3]) ~= ARGV[1] then return redis.error_reply('LEASE lost') end
local noted = redis.call('GET', KEYS[4])
if noted then
  local number, token = string.match(noted, '^(%d+) %S+ %S+ %S* (.*)$')
  if token == ARGV[1] then
    if number == ARGV[2] then return noted end
    if tonumber(number) > tonumber(ARGV[2]) then return redis.error_reply('STALE request') end
  end
end
${DEADLINE_OF}
local count = #ARGV - 3
local scores = count > 0 and redis.call('ZMSCORE', KEYS[1], unpack(ARGV, 4))
local codes, fired, later, gone, soonest = {}, {}, {}, {}, -1
local size = redis.call('DBSIZE')
for i = 1, count do
  local key, score = ARGV[3 + i], scores[i] and tonumber(scores[i])
  local at = deadline_of(key)
  if type(at) == 'table' then return at end
  local code = 'a'
  if at >= 0 then
    if not score or at < score or score <= now then
      later[#later + 1] = at
      later[#later + 1] = key
    end
    if soonest < 0 or at < soonest then soonest = at end
  elseif at == -2 then
    local known, left = string.sub(ARGV[3], i, i), redis.call('DBSIZE')
    if left < size then code = 'r'
    elseif known == 'e' then code = 'e'
    elseif not score then code = 'n'
    elseif known == 'd' then code = 'd'
    else code = '?' end
    size = left
    if code == 'r' or code == 'e' then fired[#fired + 1] = i end
  end
  if at == -5 then
    code = 'x'
    if score and score <= now then gone[#gone + 1] = key end
  elseif score and at < 0 and code ~= '?' then gone[#gone + 1] = key end
  codes[i] = code
end
local line = ARGV[2] .. ' ' .. now .. ' ' .. soonest .. ' ' .. table.concat(codes) .. ' ' .. ARGV[1]
for _, i in ipairs(fired) do
  local due = scores[i] and tonumber(scores[i]) <= now
  redis.call('XADD', KEYS[2], '*', 'k', ARGV[3 + i], 'd', due and scores[i] or '', 't', now, 's', 'notification')
end
if #later > 0 then redis.call('ZADD', KEYS[1], unpack(later)) end
if #gone > 0 then redis.call('ZREM', KEYS[1], unpack(gone)) end
-- Out of memory it is refused only where nothing was written before, and then nothing is done twice.
-- Refused for another reason it must not hide that all was done.
local set = redis.pcall('SET', KEYS[4], line)
if set.err and count == 0 then return set end
return line
`);
