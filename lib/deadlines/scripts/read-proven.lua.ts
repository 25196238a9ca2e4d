import { Script } from '../../connection/script.js';

/** See the header of the script. */
export const READ_PROVEN = new Script(`
-- READ-PROVEN: when some keys run out, and which of them expired by this very look.
-- KEYS    the keys, some hundreds at most: about 1 us each; in a Cluster none, as they differ in their slots
-- ARGV    the keys, if there are no KEYS
-- returns {now in epoch ms, PTTL of each key...}; -1 without a deadline, -2 gone before, -3 where
--         this look itself made Redis remove it: proof that it expired and was not deleted; -4 where
--         another node of the Cluster serves it
-- Safe: writes nothing of its own. Nothing else runs between two commands of a script, so where the
-- number of keys falls across a PTTL, that PTTL removed the key.
local keys = #KEYS > 0 and KEYS or ARGV
local time = redis.call('TIME')
local reply = { time[1] * 1000 + math.floor(time[2] / 1000) }
local size = redis.call('DBSIZE')
for i = 1, #keys do
  local ttl = redis.pcall('PTTL', keys[i])
  if type(ttl) == 'table' then
    if not string.find(ttl.err, 'non local key', 1, true) then return ttl end
    ttl = -4
  end
  if ttl == -2 then
    local left = redis.call('DBSIZE')
    if left < size then ttl = -3 end
    size = left
  end
  reply[i + 1] = ttl
end
return reply
`);
