import { Script } from '../connection/script.js';

/** See the header of the script. */
export const TAKE_LEASE = new Script(`
-- TAKE-LEASE: makes an instance the group's leader if there is none.
-- KEYS[1] lease: the leader's token, '<instance>:<turn>'
-- KEYS[2] watched: until when the group was watched without a gap, in epoch ms
-- ARGV[1] name of the instance
-- ARGV[2] turn: how often the instance has asked, this time included; with the name it is the token
-- ARGV[3] for how many ms
-- ARGV[4] '1' to look only: nothing is taken
-- returns {1, what watched says, or '' if the group is new and is watched from now on}, or
--         {0, ms until the present lease runs out, name of the instance that holds it}, or, where it is only
--         looked and the lease is free, {0, 0, ''}. Where watched says a time to come, the server's clock
--         was set back, nobody knows by how much, and 0 is returned: nothing counts as watched
-- Safe: a lease that runs is given to nobody else. An instance asks only while it leads no more, so
--         a lease of an earlier turn of its own is one that it does not use: its answer was lost, or
--         came too late. A request that comes late takes nothing from a newer turn. One that the
--         client sent twice is granted twice, and nobody is told of the first.
local lease, watched = KEYS[1], KEYS[2]
local instance, turn, duration, looks = ARGV[1], tonumber(ARGV[2]), ARGV[3], ARGV[4] == '1'
local holder = redis.call('GET', lease)
if holder then
  local name, held = string.match(holder, '^(.*):(%d+)$')
  if name ~= instance or tonumber(held) > turn then
    -- A user who may run PEXPIRETIME need not be granted PTTL: the lease runs for as long as it can then.
    local left = redis.pcall('PTTL', lease)
    if type(left) ~= 'number' then left = tonumber(duration) end
    -- Longer than anybody takes it: the server's clock was set back.
    if left > tonumber(duration) then
      redis.call('SET', lease, holder, 'PX', duration)
      left = tonumber(duration)
    end
    return { 0, left, name or holder }
  end
end
if looks then return { 0, 0, '' } end
redis.call('SET', lease, instance .. ':' .. ARGV[2], 'PX', duration)
local noted = redis.call('GET', watched)
local time = redis.call('TIME')
local now = time[1] * 1000 + math.floor(time[2] / 1000)
if not noted then redis.call('SET', watched, now)
elseif tonumber(noted) > now then noted = '0' end
return { 1, noted or '' }
`);
