import { Script } from '../connection/script.js';

/** See the header of the script. */
export const PROMOTE = new Script(`
-- PROMOTE: puts what is due back among the events: retries, and what waited for the grace of its handler.
-- KEYS[1] retry
-- KEYS[2] events
-- KEYS[3] grace
-- ARGV[1] how many of each at most
-- returns ms until the next one is due, or -1 if there is none
-- Safe: appended and taken out in one step, whoever runs it and however often.
local retry, events, grace, count = KEYS[1], KEYS[2], KEYS[3], ARGV[1]
local time = redis.call('TIME')
local now = time[1] * 1000 + math.floor(time[2] / 1000)
local soonest
for _, zset in ipairs({ retry, grace }) do
  for _, payload in ipairs(redis.call('ZRANGEBYSCORE', zset, '-inf', now, 'LIMIT', 0, count)) do
    redis.call('XADD', events, '*', 'p', payload)
    redis.call('ZREM', zset, payload)
  end
  local first = redis.call('ZRANGE', zset, 0, 0, 'WITHSCORES')[2]
  if first then soonest = math.min(soonest or tonumber(first), tonumber(first)) end
end
if not soonest then return -1 end
return math.max(0, math.ceil(soonest - now))
`);
