/** See the header of the script. */
export const READ_PROVEN = `
-- READ-PROVEN: when some keys run out, and which of them expired by this very look.
-- KEYS    the keys, some hundreds at most: about 1 us each
-- ARGV    none
-- returns {now in epoch ms, PTTL of each key...}; -1 without a deadline, -2 gone before, and -3
--         where this look itself made Redis remove it: proof that it expired and was not deleted
-- Safe: writes nothing of its own. Nothing else runs between two commands of a script, so where the
-- number of keys falls across a PTTL, that PTTL removed the key.
local time = redis.call('TIME')
local reply = { time[1] * 1000 + math.floor(time[2] / 1000) }
local size = redis.call('DBSIZE')
for i = 1, #KEYS do
  local ttl = redis.call('PTTL', KEYS[i])
  if ttl == -2 then
    local left = redis.call('DBSIZE')
    if left < size then ttl = -3 end
    size = left
  end
  reply[i + 1] = ttl
end
return reply
`;
