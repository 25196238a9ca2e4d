import { Script } from '../../connection/script.js';

/** See the header of the script. */
export const SETTLE = new Script(`
-- SETTLE: applies what looking at due keys showed.
-- KEYS    index, events, lease, settled
-- ARGV    token, request, now, how many keys; then the keys; then of each in turn: the score that was
--         seen ('' for a key that was not in the index), new score ('' to take it out), source (''
--         unless it expired), deadline ('' unknown); each key once, some hundreds at most
-- returns for each key 1 if it was applied, 0 if the index no longer holds what was seen
-- Safe: whoever's compare-and-set on the score succeeds owns that expiry, and the event is appended
-- in the same step; only the holder of the lease is heard. May be repeated after a lost reply: a
-- request that appended for a key that no score tells of is noted, and done once. The append comes
-- first: a server out of memory refuses it before anything was changed.
if redis.call('GET', KEYS[3]) ~= ARGV[1] then return redis.error_reply('LEASE lost') end
local count, now = tonumber(ARGV[4]), ARGV[3]
local reply, unindexed = {}, false
local again = redis.call('GET', KEYS[4]) == ARGV[2]
local scores = redis.call('ZMSCORE', KEYS[1], unpack(ARGV, 5, 4 + count))
local later, gone = {}, {}
for i = 1, count do
  local key, at, current = ARGV[4 + i], 5 + count + (i - 1) * 4, scores[i]
  local seen, score, source = ARGV[at], ARGV[at + 1], ARGV[at + 2]
  local same = (not current and seen == '' and not again)
    or (current and seen ~= '' and tonumber(current) == tonumber(seen))
  if same then
    if source ~= '' then
      redis.call('XADD', KEYS[2], '*', 'k', key, 'd', ARGV[at + 3], 't', now, 's', source)
      unindexed = unindexed or not current
    end
    if score ~= '' then
      later[#later + 1] = score
      later[#later + 1] = key
    elseif current then gone[#gone + 1] = key end
  end
  reply[i] = same and 1 or 0
end
if #later > 0 then redis.call('ZADD', KEYS[1], unpack(later)) end
if #gone > 0 then redis.call('ZREM', KEYS[1], unpack(gone)) end
if unindexed then redis.call('SET', KEYS[4], ARGV[2]) end
return reply
`);
