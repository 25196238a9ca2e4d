import { Script } from '../connection/script.js';
import { DEADLINE_OF } from './deadline-of.lua.js';
import { VALUE_PLACES } from './value-places.lua.js';

/** See the header of the script. */
export const WARN = new Script(`
-- WARN: looks at keys whose time left may have fallen to 'before', and appends a warning of each of which that is so.
-- KEYS[1] lease      the fencing token of the leader
-- KEYS[2] events     stream: what is to be handled
-- KEYS[3] ahead      ZSET: when to look at keys that had more than 'before' left when they were seen last
-- KEYS[4] within     ZSET: keys that were warned of, by the deadline that was told
-- KEYS[5] away       on a Cluster: ZSET, as 'ahead', of keys that another node serves
-- ARGV[1] token      of the leader who asks
-- ARGV[2] before     ms before the deadline
-- ARGV[3] renewed    by how many ms two deadlines differ at least where the key was renewed in between
-- ARGV[4] since      what was due before then, in epoch ms, was missed
-- ARGV[5] wanted     of each key one character: '0' nobody asks for it any more, '1' somebody does; '' where all
--                    are asked for
-- ARGV[6] valued     of each key one character: '1' its value was read a moment ago, '0' it was not; '' where none was
-- ARGV[7...]         of each value the deadline that its key had then, in epoch ms, and the value as events have it; then the keys, each once, some hundreds: about 2 us each, and 3 us for each warning. They are not
--                    declared, see DEADLINE_OF
-- returns {now in epoch ms, when the soonest key is to be looked at that has more time left (-1 none), of each key
--         one character}
--
--   found                                    answer   what is done
--   not ahead                                n        nothing: it was settled before
--   alive, and more than 'before' left       a        'ahead' says when to look again
--   alive, warned of by the same deadline    n        out of 'ahead'
--   alive, and asked for                     w        a warning, and from 'ahead' to 'within'
--   alive, not asked for                     d        out of 'ahead'
--   gone, without a deadline, or forbidden   d        out of 'ahead' and 'within'
--   elsewhere                                m        from 'ahead' to 'away'; without KEYS[5] that is an error
--
-- Safe: only the holder of the lease is heard. May be repeated: what was warned of is not ahead any more. The append
-- comes first: a server that refuses writes refuses it before anything was settled.
local lease, events, ahead, within, away = KEYS[1], KEYS[2], KEYS[3], KEYS[4], KEYS[5]
local token, before, renewed = ARGV[1], tonumber(ARGV[2]), tonumber(ARGV[3])
local since, wanted = tonumber(ARGV[4]), ARGV[5]
local valued, before_keys = ARGV[6], 6
${VALUE_PLACES}
local count = #ARGV - before_keys
if redis.call('GET', lease) ~= token then return redis.error_reply('LEASE lost') end
${DEADLINE_OF}
local ELSEWHERE = -4
local looks = redis.call('ZMSCORE', ahead, unpack(ARGV, before_keys + 1))
local tolds = redis.call('ZMSCORE', within, unpack(ARGV, before_keys + 1))
local deadlines = {}
for i = 1, count do
  local at = looks[i] and deadline_of(ARGV[before_keys + i])
  if type(at) == 'table' then
    if not (away and string.find(at.err, 'non local key', 1, true)) then return at end
    at = ELSEWHERE
  end
  deadlines[i] = at
end

local values = {}
local codes, warned, later, settled, gone, moved, soonest = {}, {}, {}, {}, {}, {}, -1
for i = 1, count do
  local key, at, code = ARGV[before_keys + i], deadlines[i], 'd'
  local told = tolds[i] and tonumber(tolds[i])
  if not looks[i] then code = 'n'
  elseif at == ELSEWHERE then
    code = 'm'
    moved[#moved + 1] = looks[i]
    moved[#moved + 1] = key
  elseif at >= 0 and (wanted == '' or string.sub(wanted, i, i) == '1') then
    if at - now > before then
      code = 'a'
      later[#later + 1] = at - before
      later[#later + 1] = key
      if soonest < 0 or at - before < soonest then soonest = at - before end
    elseif told and math.abs(at - told) <= renewed then code = 'n'
    else
      code = 'w'
      warned[#warned + 1] = at
      warned[#warned + 1] = key
      -- Read of the life that is warned of: a renewal in between has another deadline.
      local is_of_it = value_at[i] and math.abs(at - tonumber(ARGV[value_at[i]])) <= 1
      values[#warned / 2] = is_of_it and ARGV[value_at[i] + 1] or false
    end
  end
  if looks[i] and code ~= 'a' then settled[#settled + 1] = key end
  if told and code == 'd' then gone[#gone + 1] = key end
  codes[i] = code
end

for i = 1, #warned, 2 do
  local at, key = warned[i], warned[i + 1]
  local source = at - before < since and 'recovery' or 'notification'
  local value = values[(i + 1) / 2]
  if value then
    redis.call('XADD', events, '*', 'k', key, 'd', at, 't', now, 's', source, 'b', before, 'v', value)
  else
    redis.call('XADD', events, '*', 'k', key, 'd', at, 't', now, 's', source, 'b', before)
  end
end
if #later > 0 then redis.call('ZADD', ahead, unpack(later)) end
if #moved > 0 then redis.call('ZADD', away, unpack(moved)) end
if #settled > 0 then redis.call('ZREM', ahead, unpack(settled)) end
if #gone > 0 then redis.call('ZREM', within, unpack(gone)) end
if #warned > 0 then redis.call('ZADD', within, unpack(warned)) end
return { now, soonest, table.concat(codes) }
`);
