import { Script } from '../connection/script.js';

/** See the header of the script. */
export const PROMOTE = new Script(`
-- PROMOTE: puts retries that are due back among the events.
-- KEYS[1] retry
-- KEYS[2] events
-- ARGV[1] how many at most
-- returns ms until the next one is due, or -1 if there is none
-- Safe: appended and taken out in one step, whoever runs it and however often.
local retry, events, count = KEYS[1], KEYS[2], ARGV[1]
local time = redis.call('TIME')
local now = time[1] * 1000 + math.floor(time[2] / 1000)
for _, payload in ipairs(redis.call('ZRANGEBYSCORE', retry, '-inf', now, 'LIMIT', 0, count)) do
  redis.call('XADD', events, '*', 'p', payload)
  redis.call('ZREM', retry, payload)
end
local first = redis.call('ZRANGE', retry, 0, 0, 'WITHSCORES')
if not first[2] then return -1 end
return math.max(0, math.ceil(first[2] - now))
`);
