import { Script } from '../connection/script.js';

/** See the header of the script. */
export const SET_ASIDE = new Script(`
-- SET-ASIDE: has an event wait for the grace of some handlers, while others are about to run for its entry.
-- KEYS[1] events
-- KEYS[2] grace
-- KEYS[3] runs
-- ARGV[1] group
-- ARGV[2] consumer
-- ARGV[3] id of the entry
-- ARGV[4] note, as of BEGIN, which says for which handlers it is set aside
-- ARGV[5] and on, for each of them: when its grace is over, in epoch ms, payload
-- returns 1, or 0 if the entry is not this consumer's any more: nothing is done then
-- Safe: acts only while the entry is pending with this very consumer. What waits and the note that it does are written in
--         one step, so whoever gets the entry after a crash does not set it aside again. May be repeated.
local events, grace, runs = KEYS[1], KEYS[2], KEYS[3]
local group, consumer, id, note = ARGV[1], ARGV[2], ARGV[3], ARGV[4]
local pending = redis.call('XPENDING', events, group, id, id, 1)
if not pending[1] or pending[1][2] ~= consumer then return 0 end
redis.call('HSET', runs, id, note)
for i = 5, #ARGV, 2 do redis.call('ZADD', grace, ARGV[i], ARGV[i + 1]) end
return 1
`);
