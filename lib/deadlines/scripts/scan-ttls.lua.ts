import { Script } from '../../connection/script.js';
import { DEADLINE_OF } from './deadline-of.lua.js';

/** See the header of the script. */
export const SCAN_TTLS = new Script(`
-- SCAN-TTLS: one page of the keys that match, and when they run out, in one round trip.
-- KEYS    none: which keys a page holds is what it finds out
-- ARGV    cursor, glob pattern, how many keys to look at
-- returns {next cursor ('0' at the end), now in epoch ms, key, ms to live, key, ms to live...}; keys
--         without a deadline are left out, and those that are on their way from or to another node of
--         a Cluster
-- Safe: writes nothing of its own; a page is bounded by its count. As SCAN promises, a key that is
-- there all the while is returned at least once.
${DEADLINE_OF}
local page = redis.call('SCAN', ARGV[1], 'MATCH', ARGV[2], 'COUNT', ARGV[3])
local reply = { page[1] }
local n = 2
for _, key in ipairs(page[2]) do
  local at = deadline_of(key)
  if type(at) == 'table' then
    if not string.find(at.err, 'non local key', 1, true) then return at end
    at = -2
  end
  if at >= 0 then
    reply[n + 1] = key
    reply[n + 2] = at
    n = n + 2
  end
end
reply[2] = now
for i = 4, n, 2 do reply[i] = reply[i] - now end
return reply
`);
