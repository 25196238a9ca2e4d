import { Script } from '../connection/script.js';

/** See the header of the script. */
export const FORWARDED = new Script(`
-- FORWARDED: takes entries out of a partition that are another one's by now, or puts them back into its index.
-- KEYS[1] lease
-- KEYS[2] from       ZSET: where the entries are, 'away' or 'index'
-- KEYS[3] index      ZSET: when to look at which key
-- ARGV[1] token      of the leader who asks
-- ARGV[2...] of each entry its key, the score that was seen, and '0' if another partition has it, or '1' if
--            its key turned out to be here; some hundreds
-- returns of how many entries the score was the one that was seen: nothing was done about the others
-- Safe: only the holder of the lease is heard, and an entry that was written anew meanwhile stays. Of a key
--       that the index knows, its entry is newer than one whose time has come: that one is dropped.
local lease, from, index = KEYS[1], KEYS[2], KEYS[3]
local token = ARGV[1]
if redis.call('GET', lease) ~= token then return redis.error_reply('LEASE lost') end
local time = redis.call('TIME')
local now = time[1] * 1000 + math.floor(time[2] / 1000)
local done = 0
for i = 2, #ARGV, 3 do
  local key, seen, is_here = ARGV[i], tonumber(ARGV[i + 1]), ARGV[i + 2] == '1'
  local score = redis.call('ZMSCORE', from, key)[1]
  if score and tonumber(score) == seen then
    if is_here then redis.call('ZADD', index, seen <= now and 'NX' or 'LT', score, key) end
    redis.call('ZREM', from, key)
    done = done + 1
  end
end
return done
`);
