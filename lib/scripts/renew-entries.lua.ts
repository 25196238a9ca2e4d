import { Script } from '../connection/script.js';

/** See the header of the script. */
export const RENEW_ENTRIES = new Script(`
-- RENEW-ENTRIES: keeps entries with the consumer that works on them.
-- KEYS    events
-- ARGV    group, consumer, id...
-- returns the ids that are still this consumer's
-- Safe: looks whose an entry is before it claims it, so a consumer that slept takes nothing back.
local reply = {}
for i = 3, #ARGV do
  local pending = redis.call('XPENDING', KEYS[1], ARGV[1], ARGV[i], ARGV[i], 1)
  if pending[1] and pending[1][2] == ARGV[2] then
    redis.call('XCLAIM', KEYS[1], ARGV[1], ARGV[2], 0, ARGV[i], 'JUSTID')
    reply[#reply + 1] = ARGV[i]
  end
end
return reply
`);
