import { Script } from '../connection/script.js';

/** See the header of the script. */
export const CLAIM = new Script(`
-- CLAIM: takes over entries whose consumer stopped renewing them.
-- KEYS[1] events
-- KEYS[2] runs
-- ARGV[1] group
-- ARGV[2] consumer
-- ARGV[3] ms without renewal
-- ARGV[4] how many
-- returns {{id, runs of its handlers as JSON or '', fields}...}
-- Safe: XAUTOCLAIM is atomic; an entry that was deleted meanwhile is acknowledged away. A step looks
--         at ten entries for each that there is room for: it goes on past those that are renewed.
local events, runs = KEYS[1], KEYS[2]
local group, consumer, idle, room = ARGV[1], ARGV[2], ARGV[3], tonumber(ARGV[4])
local reply, cursor, steps = {}, '0-0', 0
repeat
  local claimed = redis.call('XAUTOCLAIM', events, group, consumer, idle, cursor, 'COUNT', room - #reply)
  cursor, steps = claimed[1], steps + 1
  for _, entry in ipairs(claimed[2]) do
    if entry and entry[1] and entry[2] then
      local noted = redis.pcall('HMGET', runs, entry[1])
      reply[#reply + 1] = { entry[1], noted[1] or '', entry[2] }
    end
  end
  local deleted = claimed[3]
  if deleted and #deleted > 0 then redis.pcall('HDEL', runs, unpack(deleted)) end
until #reply >= room or cursor == '0-0' or steps >= 1000
return reply
`);
