import { Script } from '../connection/script.js';

/** See the header of the script. */
export const ACKNOWLEDGE = new Script(`
-- ACKNOWLEDGE: ends entries that are done.
-- KEYS    events, runs
-- ARGV    group, id...; a thousand at most
-- returns how many were still there
-- Safe: may be repeated. All commands reach replicas as one: an entry that is acknowledged and not
--         deleted would stay for ever, as nobody is given it again. Where HDEL is forbidden, HSET is too.
redis.call('XACK', KEYS[1], ARGV[1], unpack(ARGV, 2))
redis.pcall('HDEL', KEYS[2], unpack(ARGV, 2))
return redis.call('XDEL', KEYS[1], unpack(ARGV, 2))
`);
