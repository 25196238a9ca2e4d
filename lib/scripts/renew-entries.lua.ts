import { Script } from '../connection/script.js';

/** See the header of the script. */
export const RENEW_ENTRIES = new Script(`
-- RENEW-ENTRIES: keeps entries with the consumer that works on them.
-- KEYS[1] events
-- ARGV[1] group
-- ARGV[2] consumer
-- ARGV[3] and on: ids of entries
-- returns the ids that are still this consumer's
-- Safe: looks whose an entry is before it claims it, so a consumer that slept takes nothing back.
local events, group, consumer = KEYS[1], ARGV[1], ARGV[2]
local reply = {}
for i = 3, #ARGV do
  local id = ARGV[i]
  local pending = redis.call('XPENDING', events, group, id, id, 1)
  if pending[1] and pending[1][2] == consumer then
    redis.call('XCLAIM', events, group, consumer, 0, id, 'JUSTID')
    reply[#reply + 1] = id
  end
end
return reply
`);
