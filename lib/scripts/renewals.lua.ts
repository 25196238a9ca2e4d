import { Script } from '../connection/script.js';
import { DEADLINE_OF } from './deadline-of.lua.js';

/** See the header of the script. */
export const RENEWALS = new Script(`
-- RENEWALS: looks for renewals among keys that were warned of.
-- KEYS[1] lease      the fencing token of the leader
-- KEYS[2] ahead      as of APPROACH
-- KEYS[3] within     as of APPROACH: these are the keys
-- KEYS[4] befores    as of APPROACH
-- KEYS[5] away       on a Cluster: ZSET, as 'ahead', of keys that another node serves
-- ARGV[1] token      of the leader who asks
-- ARGV[2] before     ms before the deadline
-- ARGV[3] renewed    by how many ms two deadlines differ at least where the key was renewed in between
-- ARGV[4] seen       when the look before began, in epoch ms; 0 if there was none
-- ARGV[5] cursor     '0' at first
-- ARGV[6] count      how many keys to look at: about 1 us each
-- ARGV[7] asked      '1' if somebody asks to be warned, so many ms before; else '0'
-- returns {cursor of what is left ('0' at the end), when the soonest key is to be looked at that is ahead by now
--         (-1 none), how many keys are within}
--
--   found                                what is done
--   gone, without a deadline, or
--     elsewhere                          forgotten
--   renewed, and more than 'before'
--     left now                           it is ahead; forgotten once the deadline that was told has passed
--   renewed since the look before, and
--     it may have had more then          it is to be looked at at once: WARN warns of the new deadline
--   renewed, and it had no more          the new deadline counts as told
--   not renewed                          nothing
-- Safe: only the holder of the lease is heard. May be repeated. As ZSCAN promises, a key that is there all the while is
-- looked at once at least.
local lease, ahead, within, befores, away = KEYS[1], KEYS[2], KEYS[3], KEYS[4], KEYS[5]
local token, before, renewed = ARGV[1], tonumber(ARGV[2]), tonumber(ARGV[3])
local seen, cursor, count, asked = tonumber(ARGV[4]), ARGV[5], ARGV[6], ARGV[7] == '1'
if redis.call('GET', lease) ~= token then return redis.error_reply('LEASE lost') end
${DEADLINE_OF}
local page = redis.call('ZSCAN', within, cursor, 'COUNT', count)
local adding, telling, over, soonest = {}, {}, {}, -1
for i = 1, #page[2], 2 do
  local key, told = page[2][i], tonumber(page[2][i + 1])
  local at = deadline_of(key)
  if type(at) == 'table' then
    if not string.find(at.err, 'non local key', 1, true) then return at end
    at = -2
  end
  if at < 0 then over[#over + 1] = key
  elseif at > told + renewed then
    local is_more = at - now > before
    if is_more and told < now then over[#over + 1] = key end
    if is_more or at - math.min(now, math.max(seen, told - before)) > before then
      adding[#adding + 1] = at - before
      adding[#adding + 1] = key
      if soonest < 0 or at - before < soonest then soonest = at - before end
    else
      telling[#telling + 1] = at
      telling[#telling + 1] = key
    end
  end
end
if #adding > 0 then redis.call('ZADD', ahead, 'LT', unpack(adding)) end
if #telling > 0 then redis.call('ZADD', within, unpack(telling)) end
if #over > 0 then redis.call('ZREM', within, unpack(over)) end
local left = redis.call('ZCARD', within)
local waiting = left + redis.call('ZCARD', ahead) + redis.call('ZCARD', away)
if not asked and waiting == 0 then redis.call('ZREM', befores, before) end
return { page[1], soonest, left }
`);
