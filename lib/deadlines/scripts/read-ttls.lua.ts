/** See the header of the script. */
export const READ_TTLS = `
-- READ-TTLS: when some keys run out, in one round trip.
-- KEYS    the keys, some hundreds at most: about 1 us each
-- ARGV    none
-- returns {now in epoch ms, PTTL of each key...}; PTTL is -1 without a deadline, -2 when gone
-- Safe: writes nothing of its own. On a primary the read is also the touch that makes Redis
-- expire a key whose deadline has passed. TIME first: now + PTTL errs towards looking early.
local time = redis.call('TIME')
local reply = { time[1] * 1000 + math.floor(time[2] / 1000) }
for i = 1, #KEYS do reply[i + 1] = redis.call('PTTL', KEYS[i]) end
return reply
`;
