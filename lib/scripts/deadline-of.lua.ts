/**
 * Lua that several scripts begin with. It reads the clock into `now`, in epoch ms, and defines
 * `deadline_of(key)`, which returns when a key runs out, in epoch ms by Redis's clock: -1 if the key
 * has no deadline, -2 if it does not exist, -5 if the ACL forbids this very key, or the error reply.
 *
 * Keys of users are not declared: a server refuses a script as a whole for one declared key that its
 * ACL forbids, and the keys beside it would stay unknown.
 *
 * A key that a script finds alive has a deadline of `now` or later; `now` may be set back by a ms for
 * that while keys are looked at, and is to be used after they all were.
 *
 * PEXPIRETIME tells the deadline itself. A time to live would have to be added to the clock, and up to
 * Redis 7.0 the clock runs on while a script runs: the sum would be some ms too early for the last keys
 * of a batch, and differ from one reading to the next. A group's event ids are made of deadlines. PTTL
 * is asked only where the command is missing (Redis 6.2) or the ACL does not grant it.
 */
export const DEADLINE_OF = `
local time = redis.call('TIME')
local now = time[1] * 1000 + math.floor(time[2] / 1000)
local tells_deadlines, redis_pcall = true, redis.pcall
local function deadline_of(key)
  if tells_deadlines then
    local at = redis_pcall('PEXPIRETIME', key)
    if type(at) ~= 'table' then
      -- Redis froze the time for keys before it read the clock: the key's last ms may just be over.
      if at >= 0 and at < now then now = at end
      return at
    end
  end
  local ttl = redis.pcall('PTTL', key)
  if type(ttl) == 'table' then
    -- Redis 6.2 and 7; Redis 8 and Valkey.
    local forbids_key = string.find(ttl.err, "can't access at least one of the keys", 1, true)
      or string.find(ttl.err, 'No permissions to access a key', 1, true)
    return forbids_key and -5 or ttl
  end
  -- The key can be read, so it is the command that cannot be had.
  tells_deadlines = false
  return ttl < 0 and ttl or now + ttl
end
`;
