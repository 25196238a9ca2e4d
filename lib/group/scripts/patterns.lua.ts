import { Script } from '../../connection/script.js';

/** See the header of the script. */
export const NOTE_PATTERNS = new Script(`
-- NOTE-PATTERNS: says which patterns an instance has handlers for, and learns everybody's.
-- KEYS    patterns
-- ARGV    ms for which a pattern counts, pattern...
-- returns {how many of them were new, pattern...}
-- Safe: a pattern counts as long as some instance renews it; written by all, read by who watches.
local time = redis.call('TIME')
local now = time[1] * 1000 + math.floor(time[2] / 1000)
redis.call('ZREMRANGEBYSCORE', KEYS[1], '-inf', now - ARGV[1])
local added = 0
for i = 2, #ARGV do added = added + redis.call('ZADD', KEYS[1], now, ARGV[i]) end
local reply = redis.call('ZRANGE', KEYS[1], 0, -1)
table.insert(reply, 1, added)
return reply
`);
