import { Script } from '../connection/script.js';

/** See the header of the script. */
export const RENEW_LEASE = new Script(`
-- RENEW-LEASE: keeps an instance the leader, and notes until when the group was watched without a gap.
-- KEYS[1] lease
-- KEYS[2] watched
-- ARGV[1] token
-- ARGV[2] for how many ms
-- ARGV[3] epoch ms until which everything is known ('' to leave it as it is)
-- returns 1, or 0 if the lease is another's by now
-- Safe: compares the token; the note is written by the holder only, and outlives the lease. A lease that
--         ran out and that nobody took is the holder's again: where the server's clock is set forward
--         every lease runs out at once, and a holder that is too late by its own clock does not ask.
--         Without the note all was flushed: nothing of what the holder knows is true any more.
local lease, watched = KEYS[1], KEYS[2]
local token, duration, known = ARGV[1], ARGV[2], ARGV[3]
local holder = redis.call('GET', lease)
if holder and holder ~= token then return 0 end
if not holder and not redis.call('GET', watched) then return 0 end
redis.call('SET', lease, token, 'PX', duration)
if known ~= '' then
  -- Never a time to come, as the leader's idea of the time is where the server's clock was set back.
  local time = redis.call('TIME')
  redis.call('SET', watched, math.min(tonumber(known), time[1] * 1000 + math.floor(time[2] / 1000)))
end
return 1
`);
