import { Script } from '../connection/script.js';
import { DEADLINE_OF } from './deadline-of.lua.js';

/** See the header of the script. */
export const READ_VALUES = new Script(`
-- READ-VALUES: a look a moment before the deadline: the values of keys that are about to run out, and the new
-- deadlines of those that were renewed.
-- KEYS    none in broadcast. In a group:
-- KEYS[1] index      ZSET: when to look at which key
-- KEYS[2] lease      the fencing token of the leader
-- ARGV[1] token      of the leader who asks; '' in broadcast
-- ARGV[2] lead       ms: a key that has more left was renewed, and its value is not read
-- ARGV[3] most       bytes of a value: a longer one is not read. Of a hash its names and values count
-- ARGV[4] budget     bytes: once so many were read, the rest has to be asked for again
-- ARGV[5] kinds      of each key one character: 's' it is read if it is a string, 'h' if it is a hash, 'e' either
-- ARGV[6...] of each key its recorded deadline and its name, some hundreds. They are not declared, see DEADLINE_OF
-- returns {now in epoch ms, '' or why the server refused to read some value, then for each key its deadline in
--         epoch ms (or -1 none, -2 gone, -4 on another node, -5 forbidden) and its value: a string, or an array of
--         fields and values; or a number: 0 not read, as it has more time left or none; 1 longer than allowed;
--         2 of another type, or refused; 3 to be asked for again}
-- Safe: deadline and value are of the same life, as nothing runs between two commands of a script, and time for
-- keys stands still in it. The index is told what is true of a key that is alive, and of no key that it does not
-- know; only the holder of the lease is heard. To read is to touch: a key that has run out is removed by that,
-- and announced, as it would be a moment later.
local index, lease = KEYS[1], KEYS[2]
local token, lead, most, budget = ARGV[1], tonumber(ARGV[2]), tonumber(ARGV[3]), tonumber(ARGV[4])
local kinds = ARGV[5]
-- As texts: to turn a number into one for each call costs as much as the call.
local first_byte, last_byte = '0', ARGV[3]
local before_keys = 5

if lease and redis.call('GET', lease) ~= token then return redis.error_reply('LEASE lost') end
${DEADLINE_OF}
local NOT_READ, TOO_LONG, NONE, AGAIN = 0, 1, 2, 3
local HASH, EITHER = string.byte('he', 1, 2)
local refusal = ''

-- Either the bytes, or a number as above; with true where the type is another one.
local function read_string(key)
  -- One byte more than allowed tells that there is more, and a long value is never copied.
  local text = redis.pcall('GETRANGE', key, first_byte, last_byte)
  if type(text) == 'table' then
    if string.find(text.err, 'WRONGTYPE', 1, true) then return NONE, true end
    refusal = text.err
    return NONE
  end
  if #text > most then return TOO_LONG end
  budget = budget - #text
  return text
end

local function read_hash(key)
  local count = redis.pcall('HLEN', key)
  if type(count) == 'table' then
    if not string.find(count.err, 'WRONGTYPE', 1, true) then refusal = count.err end
    return NONE
  end
  if count > most then return TOO_LONG end
  local names = redis.pcall('HKEYS', key)
  local size, failed = 0, names.err
  for i = 1, failed and 0 or #names do
    local length = redis.pcall('HSTRLEN', key, names[i])
    if type(length) == 'table' then failed = length.err break end
    size = size + #names[i] + length
    if size > most then return TOO_LONG end
  end
  local fields = not failed and redis.pcall('HGETALL', key)
  if failed or fields.err then
    refusal = failed or fields.err
    return NONE
  end
  budget = budget - size
  return fields
end

local function read(key, kind)
  if budget <= 0 then return AGAIN end
  if kind == HASH then return read_hash(key) end
  local value, is_other = read_string(key)
  if is_other and kind == EITHER then return read_hash(key) end
  return value
end

local reply, later = {}, {}
for i = 1, #kinds do
  local seen, key = tonumber(ARGV[before_keys + 2 * i - 1]), ARGV[before_keys + 2 * i]
  local at, value = deadline_of(key), NOT_READ
  if type(at) == 'table' then
    if not string.find(at.err, 'non local key', 1, true) then return at end
    at = -4
  elseif at >= 0 then
    -- Without PEXPIRETIME the same deadline may be read as another ms each time.
    if not tells_deadlines and math.abs(at - seen) <= 1 then at = seen end
    if at - now <= lead then value = read(key, string.byte(kinds, i)) end
    if at ~= seen and index then
      later[#later + 1] = at
      later[#later + 1] = key
    end
  end
  reply[2 * i + 1] = at
  reply[2 * i + 2] = value
end
reply[1], reply[2] = now, refusal
if #later > 0 then redis.call('ZADD', index, 'XX', unpack(later)) end
return reply
`);
