import { Script } from '../../connection/script.js';

/** See the header of the script. */
export const CLAIM = new Script(`
-- CLAIM: takes over entries whose consumer stopped renewing them.
-- KEYS    events
-- ARGV    group, consumer, ms without renewal, how many
-- returns {{id, deliveries, fields}...}; a fresh delivery counts
-- Safe: XAUTOCLAIM is atomic; an entry that was deleted meanwhile is acknowledged away. A step looks
--         at ten entries for each that there is room for: it goes on past those that are renewed.
local reply, cursor, steps = {}, '0-0', 0
local room = tonumber(ARGV[4])
repeat
  local claimed = redis.call('XAUTOCLAIM', KEYS[1], ARGV[1], ARGV[2], ARGV[3], cursor, 'COUNT', room - #reply)
  cursor, steps = claimed[1], steps + 1
  for _, entry in ipairs(claimed[2]) do
    if entry and entry[1] and entry[2] then
      local pending = redis.call('XPENDING', KEYS[1], ARGV[1], entry[1], entry[1], 1)
      reply[#reply + 1] = { entry[1], pending[1] and pending[1][4] or 1, entry[2] }
    end
  end
until #reply >= room or cursor == '0-0' or steps >= 1000
return reply
`);

/** See the header of the script. */
export const RENEW_ENTRIES = new Script(`
-- RENEW-ENTRIES: keeps entries with the consumer that works on them.
-- KEYS    events
-- ARGV    group, consumer, id...
-- returns the ids that are still this consumer's
-- Safe: looks whose an entry is before it claims it, so a consumer that slept takes nothing back.
local reply = {}
for i = 3, #ARGV do
  local pending = redis.call('XPENDING', KEYS[1], ARGV[1], ARGV[i], ARGV[i], 1)
  if pending[1] and pending[1][2] == ARGV[2] then
    redis.call('XCLAIM', KEYS[1], ARGV[1], ARGV[2], 0, ARGV[i], 'JUSTID')
    reply[#reply + 1] = ARGV[i]
  end
end
return reply
`);

/** See the header of the script. */
export const ACKNOWLEDGE = new Script(`
-- ACKNOWLEDGE: ends entries that are done.
-- KEYS    events
-- ARGV    group, id...; a thousand at most
-- returns how many were still there
-- Safe: may be repeated. Both commands reach replicas as one: an entry that is acknowledged and not
--         deleted would stay for ever, as nobody is given it again.
redis.call('XACK', KEYS[1], ARGV[1], unpack(ARGV, 2))
return redis.call('XDEL', KEYS[1], unpack(ARGV, 2))
`);

/** See the header of the script. */
export const FINISH = new Script(`
-- FINISH: ends an entry of which something is left to do: tries again, or gives up.
-- KEYS    events, retry, dead
-- ARGV    group, consumer, id, how many retries, then for each: ms to wait, payload; then for each letter
--         to the dead: payload, error
-- returns 1, or 0 if somebody else ended the entry
-- Safe: acts only while the entry is pending with this very consumer, and ends it in the same step.
local pending = redis.call('XPENDING', KEYS[1], ARGV[1], ARGV[3], ARGV[3], 1)
if not pending[1] or pending[1][2] ~= ARGV[2] then return 0 end
local last = 4 + 2 * ARGV[4]
for i = last + 1, #ARGV, 2 do
  redis.call('XADD', KEYS[3], '*', 'p', ARGV[i], 'e', ARGV[i + 1])
end
local time = redis.call('TIME')
local now = time[1] * 1000 + math.floor(time[2] / 1000)
for i = 5, last, 2 do redis.call('ZADD', KEYS[2], now + ARGV[i], ARGV[i + 1]) end
redis.call('XACK', KEYS[1], ARGV[1], ARGV[3])
redis.call('XDEL', KEYS[1], ARGV[3])
return 1
`);

/** See the header of the script. */
export const PROMOTE = new Script(`
-- PROMOTE: puts retries that are due back among the events.
-- KEYS    retry, events
-- ARGV    how many at most
-- returns ms until the next one is due, or -1 if there is none
-- Safe: appended and taken out in one step, whoever runs it and however often.
local time = redis.call('TIME')
local now = time[1] * 1000 + math.floor(time[2] / 1000)
for _, payload in ipairs(redis.call('ZRANGEBYSCORE', KEYS[1], '-inf', now, 'LIMIT', 0, ARGV[1])) do
  redis.call('XADD', KEYS[2], '*', 'p', payload)
  redis.call('ZREM', KEYS[1], payload)
end
local first = redis.call('ZRANGE', KEYS[1], 0, 0, 'WITHSCORES')
if not first[2] then return -1 end
return math.max(0, math.ceil(first[2] - now))
`);

/** See the header of the script. */
export const REAP = new Script(`
-- REAP: removes consumers of instances that are gone, once nothing is pending with them.
-- KEYS    events
-- ARGV    group, ms without a sign of life, own consumer
-- returns how many were removed
-- Safe: looks and removes in one step; a consumer that lives after all is made anew when it reads.
local removed = 0
for _, info in ipairs(redis.call('XINFO', 'CONSUMERS', KEYS[1], ARGV[1])) do
  local of = {}
  for i = 1, #info, 2 do of[info[i]] = info[i + 1] end
  if of.pending == 0 and of.idle > tonumber(ARGV[2]) and of.name ~= ARGV[3] then
    redis.call('XGROUP', 'DELCONSUMER', KEYS[1], ARGV[1], of.name)
    removed = removed + 1
  end
end
return removed
`);

/** See the header of the script. */
export const REDRIVE = new Script(`
-- REDRIVE: puts a dead letter back among the events.
-- KEYS    dead, events
-- ARGV    id, payload
-- returns 1, or 0 if there is no such letter
-- Safe: appended and taken out in one step, once.
if #redis.call('XRANGE', KEYS[1], ARGV[1], ARGV[1]) == 0 then return 0 end
redis.call('XADD', KEYS[2], '*', 'p', ARGV[2])
return redis.call('XDEL', KEYS[1], ARGV[1])
`);
