import { Script } from '../connection/script.js';
import { DEADLINE_OF } from './deadline-of.lua.js';
import { EACH_KEY } from './each-key.lua.js';

/** See the header of the script. */
export const ARM = new Script(`
-- ARM: writes keys with a time to live, and notes their deadlines in the same step.
-- KEYS[1] index      ZSET: when to look at which key
-- KEYS[2] events     stream: expiries to handle
-- KEYS[3] lease      of the leader, if there is one
-- KEYS[4] settled    ZSET of what was settled by somebody else than a leader, by the deadline: 'c<key>' was cancelled,
--                    'e<key>' expired, and this script told of that, and wrote the key again, or, where half a ms is
--                    added, could not
-- KEYS[5] told       on a Cluster: ZSET of keys that fired
-- ARGV    of each key its name, its time to live in ms, and its value; some hundreds at most
-- returns of each key two words: '1' and '<deadline in epoch ms> <1 if it is a new life of the key, or 0>'; '0' and
--         '' where the key is elsewhere; or '-1' and the server's error
-- Safe: entry and key come in one step. A key that ran out and whose entry nobody settled yet has expired: its
--         event is appended before its next life takes the place of that entry, and 'settled' says so for the
--         announcement that the leader may still get. A key that is elsewhere is left as it is. A server that
--         refuses writes refuses the first one, which must need memory, too; what it refuses of one key is taken back.
local index, events, lease, settled, told = KEYS[1], KEYS[2], KEYS[3], KEYS[4], KEYS[5]
${DEADLINE_OF}
local WORDS = 3
local function work(at, key, i)
  local ttl, value = tonumber(ARGV[i + 1]), ARGV[i + 2]
  local is_new = at == -2
  local known = is_new and redis.call('ZMSCORE', index, key)[1]
  local told_now
  if known and tonumber(known) <= now then
    local is_marked = tonumber(known) % 1 > 0
    local deadline = string.format('%.0f', math.floor(tonumber(known)))
    local is_watched = not is_marked and redis.call('GET', lease)
    redis.call('XADD', events, '*', 'k', key, 'd', deadline, 't', now, 's', is_watched and 'notification' or 'recovery')
    redis.call('ZADD', settled, deadline, 'e' .. key)
    redis.call('ZREMRANGEBYSCORE', settled, '-inf', now - 600000)
    known = false
    told_now = deadline
  elseif not is_new then
    known = redis.call('ZMSCORE', index, key)[1]
  end
  local deadline = now + ttl
  redis.call('ZADD', index, deadline, key)
  local set = redis.pcall('SET', key, value, 'PXAT', deadline)
  if set.err then
    if known then redis.call('ZADD', index, known, key) else redis.call('ZREM', index, key) end
    -- Told it is, but the key is not back: half a ms says so.
    if told_now then redis.call('ZADD', settled, told_now + 0.5, 'e' .. key) end
    return set
  end
  -- That its former life was cancelled, or was told, says nothing of this one.
  if is_new then
    redis.call('ZREM', settled, 'c' .. key)
    if told then redis.call('ZREM', told, key) end
  end
  return string.format('%.0f', deadline) .. (is_new and ' 1' or ' 0')
end
${EACH_KEY}
`);
