import { Script } from '../connection/script.js';

/** See the header of the script. */
export const APPROACH = new Script(`
-- APPROACH: takes note of deadlines that were learnt, so that WARN looks at the keys in time.
-- KEYS[1] lease      the fencing token of the leader
-- KEYS[2] ahead      ZSET: when to look at keys that had more than 'before' left when they were seen last
-- KEYS[3] within     ZSET: keys that were warned of, by the deadline that was told
-- KEYS[4] befores    ZSET: for which 'before' there may be such keys
-- ARGV[1] token      of the leader who asks
-- ARGV[2] before     ms before the deadline
-- ARGV[3] renewed    by how many ms two deadlines differ at least where the key was renewed in between
-- ARGV[4...] of each key its name, its deadline in epoch ms, and why that was learnt: 'created' a moment ago,
--         'renewed' a moment ago, or '' where neither is known; some hundreds, about 2 us each
-- returns when the soonest of these keys is to be looked at, or -1
--
--   time left           the key is            what is done
--   more than before    within, not renewed   nothing: the warning came a moment early
--   more than before    anything else         it is ahead from now on, and the sooner look counts; that it was warned
--                                             of stays noted, as its deadline may be set back
--   less, 'created'     anything              forgotten: this life of it never had more
--   less                ahead                 its time was shortened: to be looked at at once
--   less, 'renewed'     within                the new deadline counts as told: it never had more in between
--   less                anything else         nothing: whether it ever had more, nobody knows
-- Safe: may be repeated, and come late: what it notes is a lower bound.
local lease, ahead, within, befores = KEYS[1], KEYS[2], KEYS[3], KEYS[4]
local token, before, renewed = ARGV[1], tonumber(ARGV[2]), tonumber(ARGV[3])
if redis.call('GET', lease) ~= token then return redis.error_reply('LEASE lost') end
local time = redis.call('TIME')
local now = time[1] * 1000 + math.floor(time[2] / 1000)
local keys = {}
for i = 4, #ARGV, 3 do keys[#keys + 1] = ARGV[i] end
local looks = redis.call('ZMSCORE', ahead, unpack(keys))
local tolds = redis.call('ZMSCORE', within, unpack(keys))
local soonest = -1
local adding, telling, not_ahead, not_within = {}, {}, {}, {}
local function put(list, score, key)
  list[#list + 1] = score
  list[#list + 1] = key
end
for i, key in ipairs(keys) do
  local deadline, learnt = tonumber(ARGV[3 * i + 2]), ARGV[3 * i + 3]
  local look_at = deadline - before
  local look = looks[i] and tonumber(looks[i])
  local told = tolds[i] and tonumber(tolds[i])
  local is_more = look_at > now
  if is_more and told and math.abs(deadline - told) <= renewed then is_more = false
  elseif not is_more and learnt == 'created' then
    if look then not_ahead[#not_ahead + 1] = key end
    if told then not_within[#not_within + 1] = key end
  elseif is_more or look then
    if not look or look_at < look then put(adding, look_at, key) end
    if soonest < 0 or look_at < soonest then soonest = look_at end
  elseif learnt == 'renewed' and told and deadline > told then put(telling, deadline, key)
  end
end
if #adding > 0 then
  redis.call('ZADD', ahead, unpack(adding))
  redis.call('ZADD', befores, before, before)
end
if #telling > 0 then redis.call('ZADD', within, unpack(telling)) end
if #not_ahead > 0 then redis.call('ZREM', ahead, unpack(not_ahead)) end
if #not_within > 0 then redis.call('ZREM', within, unpack(not_within)) end
return soonest
`);
