import { Script } from '../connection/script.js';

/** See the header of the script. */
export const DROP_LETTERS = new Script(`
-- DROP-LETTERS: deletes the oldest dead letters, where they are too old or too many.
-- KEYS[1] dead
-- KEYS[2] dropped
-- ARGV[1] ms for which a letter is kept
-- ARGV[2] how many are kept
-- ARGV[3] how many are looked at
-- returns how many were deleted
-- Safe: looks and deletes in one step; a letter's id tells when it was written, by this server's clock.
local dead, dropped = KEYS[1], KEYS[2]
local max_age, max_count, count = tonumber(ARGV[1]), tonumber(ARGV[2]), ARGV[3]
local time = redis.call('TIME')
local oldest = time[1] * 1000 + math.floor(time[2] / 1000) - max_age
local excess = redis.call('XLEN', dead) - max_count
local function is_over(letter, before)
  return before < excess or tonumber(string.match(letter[1], '^%d+')) < oldest
end
-- Mostly the first one is young, and the others need not be read.
local first = redis.call('XRANGE', dead, '-', '+', 'COUNT', 1)[1]
if not first or not is_over(first, 0) then return 0 end
local ids = {}
for _, letter in ipairs(redis.call('XRANGE', dead, '-', '+', 'COUNT', count)) do
  if not is_over(letter, #ids) then break end
  ids[#ids + 1] = letter[1]
end
redis.call('XDEL', dead, unpack(ids))
redis.call('SET', dropped, (redis.call('GET', dropped) or 0) + #ids)
return #ids
`);
