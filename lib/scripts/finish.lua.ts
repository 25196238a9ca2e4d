import { Script } from '../connection/script.js';

/** See the header of the script. */
export const FINISH = new Script(`
-- FINISH: ends an entry of which something is left to do: tries again, or gives up.
-- KEYS    events, retry, dead, runs, dropped
-- ARGV    group, consumer, id, how many letters are kept, how many retries, then for each: ms to wait,
--         payload; then for each letter to the dead: payload, error
-- returns how many of the oldest letters were deleted to make room, or -1 if somebody else ended the entry
-- Safe: acts only while the entry is pending with this very consumer, and ends it in the same step.
local pending = redis.call('XPENDING', KEYS[1], ARGV[1], ARGV[3], ARGV[3], 1)
if not pending[1] or pending[1][2] ~= ARGV[2] then return -1 end
local dead, dropped, kept = KEYS[3], KEYS[5], ARGV[4]
local last = 5 + 2 * ARGV[5]
local deleted = 0
if last < #ARGV then
  local before = redis.call('XLEN', dead)
  for i = last + 1, #ARGV, 2 do
    redis.call('XADD', dead, 'MAXLEN', '=', kept, '*', 'p', ARGV[i], 'e', ARGV[i + 1])
  end
  deleted = before + (#ARGV - last) / 2 - redis.call('XLEN', dead)
end
local time = redis.call('TIME')
local now = time[1] * 1000 + math.floor(time[2] / 1000)
for i = 6, last, 2 do redis.call('ZADD', KEYS[2], now + ARGV[i], ARGV[i + 1]) end
redis.call('XACK', KEYS[1], ARGV[1], ARGV[3])
redis.pcall('HDEL', KEYS[4], ARGV[3])
redis.call('XDEL', KEYS[1], ARGV[3])
if deleted > 0 then redis.call('SET', dropped, (redis.call('GET', dropped) or 0) + deleted) end
return deleted
`);
