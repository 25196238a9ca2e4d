import { Script } from '../../connection/script.js';

/** See the header of the script. */
export const TAKE_LEASE = new Script(`
-- TAKE-LEASE: makes an instance the group's leader if there is none.
-- KEYS[1] lease: the leader's token, '<instance>:<turn>'
-- KEYS[2] watched: until when the group was watched without a gap, in epoch ms
-- ARGV[1] name of the instance
-- ARGV[2] turn: how often the instance has asked, this time included; with the name it is the token
-- ARGV[3] for how many ms
-- returns {1, what watched says, or '' if the group is new and is watched from now on}, or
--         {0, ms until the present lease runs out}
-- Safe: a lease that runs is given to nobody else. An instance asks only while it leads no more, so
--         a lease of an earlier turn of its own is one that it does not use: its answer was lost, or
--         came too late. A request that comes late takes nothing from a newer turn. One that the
--         client sent twice is granted twice, and nobody is told of the first.
local lease, watched = KEYS[1], KEYS[2]
local instance, turn, duration = ARGV[1], tonumber(ARGV[2]), ARGV[3]
local holder = redis.call('GET', lease)
if holder then
  local name, held = string.match(holder, '^(.*):(%d+)$')
  if name ~= instance or tonumber(held) > turn then
    -- A user who may run PEXPIRETIME need not be granted PTTL: the lease runs for as long as it can then.
    local left = redis.pcall('PTTL', lease)
    return { 0, type(left) == 'number' and left or tonumber(duration) }
  end
end
redis.call('SET', lease, instance .. ':' .. ARGV[2], 'PX', duration)
local noted = redis.call('GET', watched)
if not noted then
  local time = redis.call('TIME')
  redis.call('SET', watched, time[1] * 1000 + math.floor(time[2] / 1000))
end
return { 1, noted or '' }
`);

/** See the header of the script. */
export const RENEW_LEASE = new Script(`
-- RENEW-LEASE: keeps an instance the leader, and notes until when the group was watched without a gap.
-- KEYS[1] lease
-- KEYS[2] watched
-- ARGV[1] token
-- ARGV[2] for how many ms
-- ARGV[3] epoch ms until which everything is known ('' to leave it as it is)
-- returns 1, or 0 if the lease is another's by now, or ran out
-- Safe: compares the token; the note is written by the holder only, and outlives the lease.
local lease, watched = KEYS[1], KEYS[2]
local token, duration, known = ARGV[1], ARGV[2], ARGV[3]
if redis.call('GET', lease) ~= token then return 0 end
redis.call('PEXPIRE', lease, duration)
if known ~= '' then redis.call('SET', watched, known) end
return 1
`);

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
if known ~= '' then redis.call('SET', watched, known) end
return redis.call('DEL', lease)
`);
