import { Script } from '../../connection/script.js';

/** See the header of the script. */
export const SCAN_TTLS = new Script(`
-- SCAN-TTLS: one page of the keys that match, and when they run out, in one round trip.
-- KEYS    none: which keys a page holds is what it finds out
-- ARGV    cursor, glob pattern, how many keys to look at
-- returns {next cursor ('0' at the end), now in epoch ms, key, PTTL, key, PTTL...}; keys without a
--         deadline are left out, and those that are on their way from or to another node of a Cluster
-- Safe: writes nothing of its own; a page is bounded by its count. As SCAN promises, a key that is
-- there all the while is returned at least once.
local page = redis.call('SCAN', ARGV[1], 'MATCH', ARGV[2], 'COUNT', ARGV[3])
local time = redis.call('TIME')
local reply = { page[1], time[1] * 1000 + math.floor(time[2] / 1000) }
local n = 2
for _, key in ipairs(page[2]) do
  local ttl = redis.pcall('PTTL', key)
  if type(ttl) == 'table' then
    if not string.find(ttl.err, 'non local key', 1, true) then return ttl end
    ttl = -2
  end
  if ttl >= 0 then
    reply[n + 1] = key
    reply[n + 2] = ttl
    n = n + 2
  end
end
return reply
`);
