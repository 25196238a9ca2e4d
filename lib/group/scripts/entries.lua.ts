import { Script } from '../../connection/script.js';

/** See the header of the script. */
export const CLAIM = new Script(`
-- CLAIM: takes over entries whose consumer stopped renewing them.
-- KEYS    events, runs
-- ARGV    group, consumer, ms without renewal, how many
-- returns {{id, runs of its handlers as JSON or '', fields}...}
-- Safe: XAUTOCLAIM is atomic; an entry that was deleted meanwhile is acknowledged away. A step looks
--         at ten entries for each that there is room for: it goes on past those that are renewed.
local events, runs = KEYS[1], KEYS[2]
local reply, cursor, steps = {}, '0-0', 0
local room = tonumber(ARGV[4])
repeat
  local claimed = redis.call('XAUTOCLAIM', events, ARGV[1], ARGV[2], ARGV[3], cursor, 'COUNT', room - #reply)
  cursor, steps = claimed[1], steps + 1
  for _, entry in ipairs(claimed[2]) do
    if entry and entry[1] and entry[2] then
      local noted = redis.pcall('HMGET', runs, entry[1])
      reply[#reply + 1] = { entry[1], noted[1] or '', entry[2] }
    end
  end
  local deleted = claimed[3]
  if deleted and #deleted > 0 then redis.pcall('HDEL', runs, unpack(deleted)) end
until #reply >= room or cursor == '0-0' or steps >= 1000
return reply
`);

/** See the header of the script. */
export const BEGIN = new Script(`
-- BEGIN: notes that handlers are about to run for entries.
-- KEYS    events, runs
-- ARGV    group, consumer, then for each kind of note: the note, which is how often each handler of the
--         entry began to run, these runs included, as JSON; how many entries get it; their ids.
--         A thousand entries at most
-- returns the ids of entries that are not this consumer's any more: their handlers must not run here.
--         Another consumer has taken them over, or they have ended, be it by the hand of another or by a flush
-- Safe: may be repeated, as a note is the count and no step. An entry that has ended gets no note,
--         which nobody would remove.
local events, runs, group, consumer = KEYS[1], KEYS[2], ARGV[1], ARGV[2]
local owners, notes, lost = {}, {}, {}
local function look(from, to, count)
  for _, pending in ipairs(redis.call('XPENDING', events, group, from, to, count)) do
    owners[pending[1]] = pending[2]
  end
end
local at = 3
while at < #ARGV do
  local note, count = ARGV[at], tonumber(ARGV[at + 1])
  local first, last = at + 2, at + 1 + count
  -- They mostly follow each other in the stream: one look finds all, at a third of the price.
  look(ARGV[first], ARGV[last], count)
  for i = first, last do
    local id = ARGV[i]
    if not owners[id] then look(id, id, 1) end
    if owners[id] == consumer then
      notes[#notes + 1] = id
      notes[#notes + 1] = note
    else
      lost[#lost + 1] = id
    end
  end
  at = last + 1
end
if #notes > 0 then redis.call('HSET', runs, unpack(notes)) end
return lost
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
-- KEYS    events, runs
-- ARGV    group, id...; a thousand at most
-- returns how many were still there
-- Safe: may be repeated. All commands reach replicas as one: an entry that is acknowledged and not
--         deleted would stay for ever, as nobody is given it again. Where HDEL is forbidden, HSET is too.
redis.call('XACK', KEYS[1], ARGV[1], unpack(ARGV, 2))
redis.pcall('HDEL', KEYS[2], unpack(ARGV, 2))
return redis.call('XDEL', KEYS[1], unpack(ARGV, 2))
`);

/** See the header of the script. */
export const FINISH = new Script(`
-- FINISH: ends an entry of which something is left to do: tries again, or gives up.
-- KEYS    events, retry, dead, runs, dropped
-- ARGV    group, consumer, id, how many letters are kept, how many retries, then for each: ms to wait,
--         payload; then for each letter to the dead: payload, error
-- returns how many of the oldest letters were deleted to make room, or -1 if somebody else ended the entry
-- Safe: acts only while the entry is pending with this very consumer, and ends it in the same step.
local pending = redis.call('XPENDING', KEYS[1], ARGV[1], ARGV[3], ARGV[3], 1)
if not pending[1] or pending[1][2] ~= ARGV[2] then return -1 end
local dead, dropped, kept = KEYS[3], KEYS[5], ARGV[4]
local last = 5 + 2 * ARGV[5]
local deleted = 0
if last < #ARGV then
  local before = redis.call('XLEN', dead)
  for i = last + 1, #ARGV, 2 do
    redis.call('XADD', dead, 'MAXLEN', '=', kept, '*', 'p', ARGV[i], 'e', ARGV[i + 1])
  end
  deleted = before + (#ARGV - last) / 2 - redis.call('XLEN', dead)
end
local time = redis.call('TIME')
local now = time[1] * 1000 + math.floor(time[2] / 1000)
for i = 6, last, 2 do redis.call('ZADD', KEYS[2], now + ARGV[i], ARGV[i + 1]) end
redis.call('XACK', KEYS[1], ARGV[1], ARGV[3])
redis.pcall('HDEL', KEYS[4], ARGV[3])
redis.call('XDEL', KEYS[1], ARGV[3])
if deleted > 0 then redis.call('SET', dropped, (redis.call('GET', dropped) or 0) + deleted) end
return deleted
`);

/** See the header of the script. */
export const DROP_LETTERS = new Script(`
-- DROP-LETTERS: deletes the oldest dead letters, where they are too old or too many.
-- KEYS    dead, dropped
-- ARGV    ms for which a letter is kept, how many are kept, how many are looked at
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
