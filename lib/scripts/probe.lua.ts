import { Script } from '../connection/script.js';
import { REFUSED_OF } from './refused-of.lua.js';

/** See the header of the script. */
export const PROBE = new Script(`
-- PROBE: tries each command that a group uses on a key that does not exist, so that a server without one
--        of them, or a user that may not run it, is found out at the start and by name.
-- KEYS    a key of the group's that nobody ever writes
-- ARGV    none
-- returns {command, error...} of each command that was refused; what an error says is for the caller
--         to read: that there is no such key or consumer group is as it should be
-- Safe: none of these calls creates or changes anything where the key does not exist. Some are called
-- without an argument, which tells only whether the server has them: HSET would create the key, to
-- scan would expire keys before anybody hears of it, and a user who may run PEXPIRETIME does not need PTTL.
local key = KEYS[1]
${REFUSED_OF}local calls = {
  { 'TIME' },
  { 'DBSIZE' },
  { 'SCAN' },
  { 'PTTL' },
  { 'GET', key },
  { 'SET', key, '', 'XX' },
  { 'DEL', key },
  { 'PEXPIRE', key, 1 },
  { 'HSET' },
  { 'HMGET' },
  { 'HDEL' },
  { 'ZADD', key, 'XX', 0, '' },
  { 'ZCARD', key },
  { 'ZMSCORE', key, '' },
  { 'ZRANGE', key, 0, 0 },
  { 'ZRANGEBYSCORE', key, 0, 0 },
  { 'ZREM', key, '' },
  { 'ZREMRANGEBYSCORE', key, 0, 0 },
  { 'ZSCAN', key, 0 },
  { 'XADD', key, 'NOMKSTREAM', '*', '', '' },
  { 'XLEN', key },
  { 'XRANGE', key, '-', '+' },
  { 'XDEL', key, '0-1' },
  { 'XGROUP', 'CREATE', key, '-', '0' },
  { 'XGROUP', 'DELCONSUMER', key, '-', '-' },
  { 'XINFO', 'CONSUMERS', key, '-' },
  { 'XREADGROUP', 'GROUP', '-', '-', 'STREAMS', key, '>' },
  { 'XPENDING', key, '-' },
  { 'XCLAIM', key, '-', '-', 0, '0-1' },
  { 'XAUTOCLAIM', key, '-', '-', 0, '0' },
  { 'XACK', key, '-', '0-1' },
}
return refused_of(calls)
`);
