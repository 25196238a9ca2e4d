import { Script } from '../connection/script.js';

/** See the header of the script. */
export const SETTLE = new Script(`
-- SETTLE: applies what looking at due keys showed.
-- KEYS    index, events, lease, request
-- ARGV    token, number of the request, now, how many keys; then the keys; then of each in turn: the
--         score that was seen ('' for a key that was not in the index), new score ('' to take it
--         out), source ('' unless it expired), deadline ('' unknown); each key once, a thousand at
--         most; with none, older requests are refused from now on
-- returns of each key one character: '1' it was applied, '0' the index no longer holds what was seen
-- Safe: whoever's compare-and-set on the score succeeds owns that expiry, and the event is appended
-- in the same step; only the holder of the lease is heard. A request may be sent again after a lost
-- reply: the newest one is noted with its reply, and an older one that comes late does nothing. The
-- append comes first: a server out of memory refuses it before anything was changed.
if redis.call('GET', KEYS[3]) ~= ARGV[1] then return redis.error_reply('LEASE lost') end
local noted = redis.call('GET', KEYS[4])
if noted then
  local number, applied, token = string.match(noted, '^(%d+) ([01]*) (.*)$')
  if token == ARGV[1] then
    if number == ARGV[2] then return applied end
    if tonumber(number) > tonumber(ARGV[2]) then return redis.error_reply('STALE request') end
  end
end
local count, now = tonumber(ARGV[4]), ARGV[3]
local scores = count > 0 and redis.call('ZMSCORE', KEYS[1], unpack(ARGV, 5, 4 + count))
local codes, later, gone = {}, {}, {}
for i = 1, count do
  local key, at, current = ARGV[4 + i], 5 + count + (i - 1) * 4, scores[i]
  local seen, score, source = ARGV[at], ARGV[at + 1], ARGV[at + 2]
  local same = (not current and seen == '')
    or (current and seen ~= '' and tonumber(current) == tonumber(seen))
  if same then
    if source ~= '' then
      redis.call('XADD', KEYS[2], '*', 'k', key, 'd', ARGV[at + 3], 't', now, 's', source)
    end
    if score ~= '' then
      later[#later + 1] = score
      later[#later + 1] = key
    elseif current then gone[#gone + 1] = key end
  end
  codes[i] = same and '1' or '0'
end
if #later > 0 then redis.call('ZADD', KEYS[1], unpack(later)) end
if #gone > 0 then redis.call('ZREM', KEYS[1], unpack(gone)) end
local applied = table.concat(codes)
-- Out of memory it is refused only where nothing was written before, and then nothing is done twice.
-- Refused for another reason it must not hide that all was done.
local set = redis.pcall('SET', KEYS[4], ARGV[2] .. ' ' .. applied .. ' ' .. ARGV[1])
if set.err and count == 0 then return set end
return applied
`);
