/** See the header of the script. */
export const SETTLE = `
-- SETTLE: applies what looking at due keys showed.
-- KEYS    index, events, lease, settled
-- ARGV    token, request, now, then for each key: key, the score that was seen ('' for a key that was not in
--         the index), new score ('' to take it out), source ('' unless it expired), deadline ('' unknown)
-- returns for each key 1 if it was applied, 0 if the index no longer holds what was seen
-- Safe: whoever's compare-and-set on the score succeeds owns that expiry, and the event is appended
-- in the same step; only the holder of the lease is heard. May be repeated after a lost reply: a
-- request that appended for a key that no score tells of is noted, and done once. The append comes
-- first: a server out of memory refuses it before anything was changed.
if redis.call('GET', KEYS[3]) ~= ARGV[1] then return redis.error_reply('LEASE lost') end
local reply, unindexed = {}, false
local again = redis.call('GET', KEYS[4]) == ARGV[2]
for i = 4, #ARGV, 5 do
  local key, seen, score, source, deadline = ARGV[i], ARGV[i + 1], ARGV[i + 2], ARGV[i + 3], ARGV[i + 4]
  local current = redis.call('ZSCORE', KEYS[1], key)
  local same = (not current and seen == '' and not again)
    or (current and seen ~= '' and tonumber(current) == tonumber(seen))
  if same then
    if source ~= '' then
      redis.call('XADD', KEYS[2], '*', 'k', key, 'd', deadline, 't', ARGV[3], 's', source)
      unindexed = unindexed or not current
    end
    if score ~= '' then redis.call('ZADD', KEYS[1], score, key)
    elseif current then redis.call('ZREM', KEYS[1], key) end
  end
  reply[#reply + 1] = same and 1 or 0
end
if unindexed then redis.call('SET', KEYS[4], ARGV[2]) end
return reply
`;
