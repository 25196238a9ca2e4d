import { Script } from '../connection/script.js';

/** See the header of the script. */
export const REDRIVE = new Script(`
-- REDRIVE: puts a dead letter back among the events.
-- KEYS[1] dead
-- KEYS[2] events
-- ARGV[1] id of the letter
-- ARGV[2] payload
-- returns 1, or 0 if there is no such letter
-- Safe: appended and taken out in one step, once.
local dead, events = KEYS[1], KEYS[2]
local id, payload = ARGV[1], ARGV[2]
if #redis.call('XRANGE', dead, id, id) == 0 then return 0 end
redis.call('XADD', events, '*', 'p', payload)
return redis.call('XDEL', dead, id)
`);
