import { Script } from '../connection/script.js';

/** See the header of the script. */
export const RETIRE_PARTITION = new Script(`
-- RETIRE-PARTITION: deletes what is left of a partition that has nothing to do any more.
-- KEYS[1] lease
-- KEYS[2] events
-- KEYS[3] index
-- KEYS[4] away
-- KEYS[5] retry
-- KEYS[6] dead
-- KEYS[7] befores
-- KEYS[8] grace
-- KEYS[9...12] ZSETs: what it remembers of expiries that are over
-- KEYS[13...] what it has beside these, and may be deleted with it
-- ARGV[1] token of the leader who asks
-- ARGV[2] how the names of its keys of warnings begin
-- ARGV[3] how much of what it remembers another partition was given
-- returns 1, or 0 where there is something left to do, or to give: nothing is deleted then
-- Safe: looks and deletes in one step; only the holder of the lease is heard. Whatever comes later is
--         found by whoever looks after the partition was taken off the list.
local lease, events, index, away = KEYS[1], KEYS[2], KEYS[3], KEYS[4]
local retry, dead, befores, grace = KEYS[5], KEYS[6], KEYS[7], KEYS[8]
local token, warnings, given = ARGV[1], ARGV[2], tonumber(ARGV[3])
if redis.call('GET', lease) ~= token then return redis.error_reply('LEASE lost') end
if redis.call('XLEN', events) + redis.call('XLEN', dead) > 0 then return 0 end
local waiting = 0
for _, zset in ipairs({ index, away, retry, grace }) do waiting = waiting + redis.call('ZCARD', zset) end
local told = {}
for _, before in ipairs(redis.call('ZRANGE', befores, 0, -1)) do
  local prefix = warnings .. ':' .. before .. ':'
  waiting = waiting + redis.call('ZCARD', prefix .. 'ahead') + redis.call('ZCARD', prefix .. 'away')
  told[#told + 1] = prefix .. 'within'
end
for i = 9, 12 do given = given - redis.call('ZCARD', KEYS[i]) end
if waiting > 0 or given ~= 0 then return 0 end
for _, within in ipairs(told) do redis.call('DEL', within) end
redis.call('DEL', unpack(KEYS))
return 1
`);
