import { Script } from '../connection/script.js';

/** What it returns. */
export type NoteReply = [
  number: string,
  living: number,
  well: number,
  listened: string,
  ...lists: string[],
];

/** See the header of the script. */
export const NOTE_HANDLERS = new Script(`
-- NOTE-HANDLERS: notes which handlers an instance has, and tells which lists of handlers the group has.
-- KEYS[1]   instances: ZSET of '<number of its list> <instance>', by when each noted it in epoch ms; of an
--           instance that left '-<number of its list> <instance>', by when that was
-- KEYS[2]   handlers: ZSET of lists of handlers, by their numbers; what several instances have is there once
-- KEYS[3]   listened: numbers of the lists whose patterns the leader listens for, as '1,2'
-- ARGV[1]   instance
-- ARGV[2]   number of its list as this script returned it, or '' where the list is new
-- ARGV[3]   the list, or '' where ARGV[2] is given
-- ARGV[4]   ms after which an instance that notes nothing counts as dead
-- ARGV[5]   ms for which an instance is remembered that is dead, or that left
-- ARGV[6]   what KEYS[3] is to hold, where the instance leads; else ''
-- ARGV[7]   numbers of the lists that the instance knows, as ',1,2,'
-- ARGV[8]   ms within which an instance that is well notes something
-- returns   {number of its list, or '' where nothing was noted as Redis does not know that number any more;
--           how many instances live; how many noted something within ARGV[8] ms; what KEYS[3] holds; then for each list its number, ms for which no
--           living instance has it (0 if one has), and the list, or '' where the instance knows it}
-- Safe: may be repeated. An instance changes its own entries only; that of another goes when that one is
--         forgotten. A number is used once, so two lists are never mistaken for each other.
local instances, handlers, listened = KEYS[1], KEYS[2], KEYS[3]
local instance, number, list = ARGV[1], ARGV[2], ARGV[3]
local lifetime, memory = tonumber(ARGV[4]), tonumber(ARGV[5])
local listening, known, recent = ARGV[6], ARGV[7], tonumber(ARGV[8])
local time = redis.call('TIME')
local now = time[1] * 1000 + math.floor(time[2] / 1000)

-- While Redis was away nobody could note anything, and a step of its clock is nobody's fault either: such a
-- time counts against no instance.
local newest = redis.call('ZRANGE', instances, -1, -1, 'WITHSCORES')[2]
local step = newest and now - newest or 0
if step < 0 or step > lifetime / 3 then
  local all = redis.call('ZRANGE', instances, 0, -1, 'WITHSCORES')
  for i = 1, #all, 2 do redis.call('ZADD', instances, all[i + 1] + step, all[i]) end
end

local removed = redis.call('ZREMRANGEBYSCORE', instances, '-inf', now - memory)
if number ~= '' and not redis.call('ZMSCORE', instances, number .. ' ' .. instance)[1] then
  number = ''
end
if number == '' and list ~= '' then
  number = redis.call('ZMSCORE', handlers, list)[1]
  if not number then
    local last = redis.call('ZRANGE', handlers, -1, -1, 'WITHSCORES')[2]
    number = string.format('%.0f', math.max(now, (last or 0) + 1))
    redis.call('ZADD', handlers, number, list)
  end
  local mark = ' ' .. instance
  for _, entry in ipairs(redis.call('ZRANGE', instances, 0, -1)) do
    if string.sub(entry, -#mark) == mark then
      removed = removed + redis.call('ZREM', instances, entry)
    end
  end
end
if number ~= '' then redis.call('ZADD', instances, now, number .. ' ' .. instance) end

local living, well, gone = 0, 0, {}
local entries = redis.call('ZRANGE', instances, 0, -1, 'WITHSCORES')
for i = 1, #entries, 2 do
  local left, of = string.match(entries[i], '^(%-?)(%d+) ')
  local age = now - entries[i + 1]
  if left == '' and age < lifetime then
    living, gone[of] = living + 1, 0
    if age < recent then well = well + 1 end
  else
    local since = math.max(1, left == '' and age - lifetime or age)
    gone[of] = math.min(gone[of] or since, since)
  end
end
if listening ~= '' and redis.call('GET', listened) ~= listening then
  redis.call('SET', listened, listening)
end
local reply = { number, living, well, redis.call('GET', listened) or '' }
local lists = redis.call('ZRANGE', handlers, 0, -1, 'WITHSCORES')
for i = 1, #lists, 2 do
  local of = lists[i + 1]
  if gone[of] then
    reply[#reply + 1] = of
    reply[#reply + 1] = string.format('%.0f', gone[of])
    reply[#reply + 1] = string.find(known, ',' .. of .. ',', 1, true) and '' or lists[i]
  elseif removed > 0 then
    redis.call('ZREM', handlers, lists[i])
  end
end
return reply
`);
