import { Script } from '../connection/script.js';

/** See the header of the script. */
export const REDRIVE = new Script(`
-- REDRIVE: puts a dead letter back among the events.
-- KEYS    dead, events
-- ARGV    id, payload
-- returns 1, or 0 if there is no such letter
-- Safe: appended and taken out in one step, once.
if #redis.call('XRANGE', KEYS[1], ARGV[1], ARGV[1]) == 0 then return 0 end
redis.call('XADD', KEYS[2], '*', 'p', ARGV[2])
return redis.call('XDEL', KEYS[1], ARGV[1])
`);
