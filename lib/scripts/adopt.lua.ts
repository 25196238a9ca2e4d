import { Script } from '../connection/script.js';

/** See the header of the script. */
export const ADOPT = new Script(`
-- ADOPT: takes entries of keys that this node serves from another partition.
-- KEYS[1] lease      the fencing token of the leader, whoever that is
-- KEYS[2] index      ZSET: when to look at which key; or 'ahead' of warnings
-- KEYS[3] befores    ZSET: for which 'before' there may be warnings
-- ARGV[1] before     of the warnings; '' where the entries are those of the index
-- ARGV[2] past       how many of the entries are due by the clock of whoever hands them on; they come first
-- ARGV[3...] of each entry its score and its key; some hundreds
-- returns 1, or 0 where the partition has no leader: it is not in use any more, or not yet. Nothing is done then
-- Safe: looks and adds in one step, and a partition is retired in one step, so no entry comes into one that nobody
--       will look at. Done twice it has no effect: of a key that the index knows, an entry whose time has come
--       says nothing new, and of two that are ahead the sooner one counts.
local lease, index, befores = KEYS[1], KEYS[2], KEYS[3]
local before, past = ARGV[1], tonumber(ARGV[2])
if not redis.call('GET', lease) then return 0 end
-- Before the entries: whoever drains or retires this partition goes by it.
if before ~= '' then redis.call('ZADD', befores, before, before) end
local first_ahead = 3 + 2 * past
if past > 0 then redis.call('ZADD', index, 'NX', unpack(ARGV, 3, first_ahead - 1)) end
if #ARGV >= first_ahead then redis.call('ZADD', index, 'LT', unpack(ARGV, first_ahead)) end
return 1
`);
