import { Script } from '../connection/script.js';

/** See the header of the script. */
export const PROMOTE = new Script(`
-- PROMOTE: puts retries that are due back among the events.
-- KEYS    retry, events
-- ARGV    how many at most
-- returns ms until the next one is due, or -1 if there is none
-- Safe: appended and taken out in one step, whoever runs it and however often.
local time = redis.call('TIME')
local now = time[1] * 1000 + math.floor(time[2] / 1000)
for _, payload in ipairs(redis.call('ZRANGEBYSCORE', KEYS[1], '-inf', now, 'LIMIT', 0, ARGV[1])) do
  redis.call('XADD', KEYS[2], '*', 'p', payload)
  redis.call('ZREM', KEYS[1], payload)
end
local first = redis.call('ZRANGE', KEYS[1], 0, 0, 'WITHSCORES')
if not first[2] then return -1 end
return math.max(0, math.ceil(first[2] - now))
`);
