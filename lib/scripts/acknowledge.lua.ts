import { Script } from '../connection/script.js';

/** See the header of the script. */
export const ACKNOWLEDGE = new Script(`
-- ACKNOWLEDGE: ends entries that are done.
-- KEYS[1] events
-- KEYS[2] runs
-- ARGV[1] group
-- ARGV[2] and on: ids of entries; a thousand at most
-- returns how many were still there
-- Safe: may be repeated. All commands reach replicas as one: an entry that is acknowledged and not
--         deleted would stay for ever, as nobody is given it again. Where HDEL is forbidden, HSET is too.
local events, runs, group = KEYS[1], KEYS[2], ARGV[1]
redis.call('XACK', events, group, unpack(ARGV, 2))
redis.pcall('HDEL', runs, unpack(ARGV, 2))
return redis.call('XDEL', events, unpack(ARGV, 2))
`);
