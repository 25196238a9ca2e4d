import { Script } from '../connection/script.js';

/** See the header of the script. */
export const FINISH = new Script(`
-- FINISH: ends an entry of which something is left to do: tries again, waits for a handler's grace, or gives up.
-- KEYS[1] events
-- KEYS[2] retry
-- KEYS[3] dead
-- KEYS[4] runs
-- KEYS[5] dropped
-- KEYS[6] grace
-- ARGV[1] group
-- ARGV[2] consumer
-- ARGV[3] id of the entry
-- ARGV[4] how many letters are kept
-- ARGV[5] how many retries there are
-- ARGV[6] how many wait for a grace
-- ARGV[7] and on, for each retry: ms to wait, payload; then for each that waits: when its grace is over, in
--         epoch ms, payload; then for each letter to the dead: payload, error
-- returns how many of the oldest letters were deleted to make room, or -1 if somebody else ended the entry
-- Safe: acts only while the entry is pending with this very consumer, and ends it in the same step.
local events, retry, dead, runs = KEYS[1], KEYS[2], KEYS[3], KEYS[4]
local dropped, grace = KEYS[5], KEYS[6]
local group, consumer, id, kept = ARGV[1], ARGV[2], ARGV[3], ARGV[4]
local last_retry = 6 + 2 * ARGV[5]
local last_wait = last_retry + 2 * ARGV[6]
local pending = redis.call('XPENDING', events, group, id, id, 1)
if not pending[1] or pending[1][2] ~= consumer then return -1 end
local deleted = 0
if last_wait < #ARGV then
  local before = redis.call('XLEN', dead)
  for i = last_wait + 1, #ARGV, 2 do
    redis.call('XADD', dead, 'MAXLEN', '=', kept, '*', 'p', ARGV[i], 'e', ARGV[i + 1])
  end
  deleted = before + (#ARGV - last_wait) / 2 - redis.call('XLEN', dead)
end
local time = redis.call('TIME')
local now = time[1] * 1000 + math.floor(time[2] / 1000)
for i = 7, last_retry, 2 do redis.call('ZADD', retry, now + ARGV[i], ARGV[i + 1]) end
for i = last_retry + 1, last_wait, 2 do redis.call('ZADD', grace, ARGV[i], ARGV[i + 1]) end
redis.call('XACK', events, group, id)
redis.pcall('HDEL', runs, id)
redis.call('XDEL', events, id)
if deleted > 0 then redis.call('SET', dropped, (redis.call('GET', dropped) or 0) + deleted) end
return deleted
`);
