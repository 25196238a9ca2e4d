import { Script } from '../../connection/script.js';

/** See the header of the script. */
export const TAKE_LEASE = new Script(`
-- TAKE-LEASE: becomes the group's watcher if there is none.
-- KEYS    lease, watched
-- ARGV    token, ms
-- returns {1, until when the group was watched in epoch ms, or '' if it is new and is watched from
--         now on}, or {0, ms until the lease runs out}
-- Safe: SET NX; a token is used once, so a holder that slept through its lease is never mistaken.
if redis.call('SET', KEYS[1], ARGV[1], 'NX', 'PX', ARGV[2]) then
  local watched = redis.call('GET', KEYS[2])
  local time = redis.call('TIME')
  if not watched then redis.call('SET', KEYS[2], time[1] * 1000 + math.floor(time[2] / 1000)) end
  return { 1, watched or '' }
end
return { 0, redis.call('PTTL', KEYS[1]) }
`);

/** See the header of the script. */
export const RENEW_LEASE = new Script(`
-- RENEW-LEASE: stays the watcher, and notes until when the group was watched without a gap.
-- KEYS    lease, watched
-- ARGV    token, ms, epoch ms until which everything is known ('' to leave it as it is)
-- returns 1, or 0 if the lease is another's by now
-- Safe: compares the token; the note is written by the holder only, and outlives the lease.
if redis.call('GET', KEYS[1]) ~= ARGV[1] then return 0 end
redis.call('PEXPIRE', KEYS[1], ARGV[2])
if ARGV[3] ~= '' then redis.call('SET', KEYS[2], ARGV[3]) end
return 1
`);

/** See the header of the script. */
export const GIVE_LEASE = new Script(`
-- GIVE-LEASE: hands the lease back at shutdown.
-- KEYS    lease, watched
-- ARGV    token, epoch ms until which everything is known ('' to leave it as it is)
-- returns 1, or 0 if the lease was another's
-- Safe: compares the token.
if redis.call('GET', KEYS[1]) ~= ARGV[1] then return 0 end
if ARGV[2] ~= '' then redis.call('SET', KEYS[2], ARGV[2]) end
return redis.call('DEL', KEYS[1])
`);
