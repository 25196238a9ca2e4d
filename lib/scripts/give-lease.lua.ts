import { Script } from '../connection/script.js';

/** See the header of the script. */
export const GIVE_LEASE = new Script(`
-- GIVE-LEASE: hands the lease back at shutdown.
-- KEYS[1] lease
-- KEYS[2] watched
-- ARGV[1] token
-- ARGV[2] epoch ms until which everything is known ('' to leave it as it is)
-- returns 1, or 0 if the lease was another's
-- Safe: compares the token.
local lease, watched = KEYS[1], KEYS[2]
local token, known = ARGV[1], ARGV[2]
if redis.call('GET', lease) ~= token then return 0 end
if known ~= '' then
  -- Never a time to come, as the leader's idea of the time is where the server's clock was set back.
  local time = redis.call('TIME')
  redis.call('SET', watched, math.min(tonumber(known), time[1] * 1000 + math.floor(time[2] / 1000)))
end
return redis.call('DEL', lease)
`);
