import { Script } from '../connection/script.js';
import { DEADLINE_OF } from './deadline-of.lua.js';
import { VALUE_PLACES } from './value-places.lua.js';

/** See the header of the script. */
export const SWEEP = new Script(`
-- SWEEP: looks at keys of the server that holds the index, and settles them in the same step. It is
-- the only judge of what became of a key.
-- KEYS[1] index      ZSET: when to look at which key
-- KEYS[2] events     stream: expiries to handle
-- KEYS[3] lease      the fencing token of the leader
-- KEYS[4] request    the newest request, and its answer
-- KEYS[5] settled    ZSET of what was settled by somebody else, by the deadline: 'c<key>' was cancelled, 'e<key>' had
--                    expired, and ARM told of that
-- KEYS[6] ended      ZSET: keys of handlers with a grace that fired within the longest grace, by when they did
-- KEYS[7] back       ZSET: which of these expiries were followed by a return of the key, as 'when it fired:key',
--                    by when the key was back at the latest. Of as long, and ten minutes more
-- KEYS[8] away       on a Cluster: ZSET, as the index, of entries whose keys another node serves
-- KEYS[9] told       on a Cluster: ZSET of keys that fired, by 0.8 s before the deadline that was told; or by
--                    when they fired or were found gone, where they had no entry. Of the last ten
--                    minutes, or of the last one where they are many
-- ARGV[1] token      of the leader who asks
-- ARGV[2] number     of the request
-- ARGV[3] known      of each key one character: 'e' its expiry was announced, 'd' an earlier look found it
--                    gone and then everything announced by that time was heard, '-' neither
-- ARGV[4] wanted     of each key one character: '0' nobody asks for it any more, '1' somebody does;
--                    '' where all of them are asked for
-- ARGV[5] gaps       the times in which nobody listened, as 'from to from to ...' in epoch ms
-- ARGV[6] previewed  '' where the server announces expiries; else the deadline after which every key was
--                    looked at a moment before it was due
-- ARGV[7] grace      the longest grace of a handler, in ms; 0 where none has one
-- ARGV[8] graced     of each key one character: '1' some handler with a grace asks for it, '0' none does;
--                    '' where none does for any
-- ARGV[9] others     how many names follow of what other partitions have instead of KEYS[9]. They are read where
--                    this server has them: a partition may have come here from another node
-- ARGV[10] valued    of each key one character: '1' its value was read a moment before the deadline, '0' it was not;
--                    '' where none was
-- ARGV[...]          those names; of each value the deadline that its key had then, in epoch ms, and the value as
--                    events have it; then the keys, each once, some hundreds: about 2 us each. They are not declared, see
--                    DEADLINE_OF. With none, older requests are refused from now on
-- returns a line: number, now in epoch ms, when the first key runs out that lives (-1 none), of each key
--         one character, token
--
-- What a look finds, and what follows. 'In a gap' means that the recorded deadline has passed, and that
-- nobody listened then; or that the entry came from another partition with the mark that says so: half a ms
-- in its score.
--   found                            answer   what is done
--   alive, and asked for             a        the index says when to look again
--   alive, without a deadline,
--     or not asked for               a        out of the index
--   removed by this very look        r        event: it expired
--   gone, 'e', not in the index,
--     and ARM told a moment ago      n        nothing: that announcement is of the life that ARM told of
--   gone, 'e'                        e        event: it expired
--   gone, not in the index           n        nothing: a deletion, or settled before
--   gone, '-'                        ?        nothing: its announcement may still be under way
--   gone, 'd', in a gap,
--     and told since            n        out of the index: that very expiry was told before, by what
--                                        another partition knew of it, or without its deadline
--   gone, 'd', in a gap,
--     and cancelled                  n        out of the index: who leads read the key before it was
--                                        cancelled, and noted it after that
--   gone, 'd', in a gap              g        event: it expired unheard, for all that can be known
--   gone, 'd'                        d        out of the index: it was deleted
--   elsewhere, 'e'                   e        event: it expired here before it left
--   elsewhere, in a gap, and told    n        out of the index, as above
--   elsewhere                        m        from the index to those that are away; with the mark, if in a gap
--   the ACL forbids the key          x        nothing can be told of it; where it is due, out of the index
-- Elsewhere is a key that another node of the Cluster serves, or that is not here while its slot is on its
-- way: Redis says that of it, and never that it is gone. Without KEYS[8] that is an error.
-- An entry that was set aside counts as one of the index where its key turns out to have expired here, or to be here.
-- Where there is an event, the key is out of the index too. The event's deadline is the recorded one if
-- that has passed; else the key ran out before the index expected it, and the deadline is unknown. Its
-- source is 'recovery' in a gap, and 'notification' otherwise: also where the server announces nothing
-- but the key was seen alive a moment before it was due. It has the value if the deadline that is told is the
-- one that the key had when the value was read, and nobody recovers it.
--
-- Safe: only the holder of the lease is heard. Nothing else runs between look and settling, so no score
-- has to be compared. A request may be sent again after a lost reply: the newest one is noted with its
-- line, and an older one that comes late does nothing. Nothing is written before all keys were looked
-- at: where the number of keys falls across a look, that look removed the key. The append comes first: a
-- server that refuses writes refuses it before anything was settled, and what the looks removed is
-- announced.
local index, events, lease, request = KEYS[1], KEYS[2], KEYS[3], KEYS[4]
local settled, ended, back, away, told = KEYS[5], KEYS[6], KEYS[7], KEYS[8], KEYS[9]
local token, number, known, wanted = ARGV[1], ARGV[2], ARGV[3], ARGV[4]
local gaps, previewed = ARGV[5], tonumber(ARGV[6])
local grace, graced = tonumber(ARGV[7]), ARGV[8]
local before_others = 10
local before_values = before_others + tonumber(ARGV[9])
local valued = ARGV[10]
local before_keys = before_values
${VALUE_PLACES}
local count = #ARGV - before_keys

if redis.call('GET', lease) ~= token then return redis.error_reply('LEASE lost') end
local noted = redis.call('GET', request)
if noted then
  local noted_number, noted_token = string.match(noted, '^(%d+) %S+ %S+ %S* (.*)$')
  if noted_token == token then
    if noted_number == number then return noted end
    if tonumber(noted_number) > tonumber(number) then return redis.error_reply('STALE request') end
  end
end
${DEADLINE_OF}
local REMOVED, ELSEWHERE, FORBIDDEN = -3, -4, -5
local deadlines, size = {}, redis.call('DBSIZE')
-- Where all keys live no score is asked for: the index is told when each runs out, whatever it said.
local all_live = wanted == ''
for i = 1, count do
  local at = deadline_of(ARGV[before_keys + i])
  if type(at) == 'table' then
    if not (away and string.find(at.err, 'non local key', 1, true)) then return at end
    at = ELSEWHERE
  elseif at == -2 then
    local left = redis.call('DBSIZE')
    if left < size then at = REMOVED end
    size = left
  end
  if at < 0 then all_live = false end
  deadlines[i] = at
end
local scores = all_live and {} or redis.call('ZMSCORE', index, unpack(ARGV, before_keys + 1))
local set_aside = away and not all_live and redis.call('ZMSCORE', away, unpack(ARGV, before_keys + 1))

local spans
local function in_gap(at)
  if gaps == '' then return false end
  if not spans then
    spans = {}
    for bound in string.gmatch(gaps, '%S+') do spans[#spans + 1] = tonumber(bound) end
  end
  for i = 1, #spans, 2 do
    if at >= spans[i] and at <= spans[i + 1] then return true end
  end
  return false
end

-- Clocks of two nodes may differ: by a second, for what this is about.
local CLOCKS_APART = 1000
-- MIGRATE hands a time to live on, and no deadline: it is some ms later at each node to which the key came.
local SHIFTED = 200
local function was_told_since(key, score)
  if not told then return false end
  for i = before_others, before_values do
    local name = i == before_others and told or ARGV[i]
    local at = redis.pcall('ZMSCORE', name, key)[1]
    if at and math.floor(score) <= at + CLOCKS_APART then return true end
  end
  return false
end

-- For how many ms after a deadline its announcement may come.
local ANNOUNCED_LATE = 10000
-- What was read twice of one deadline may differ by a ms where it is told by PTTL.
local READ_TWICE = 2
local some_are_settled
local function settled_at(member)
  if some_are_settled == nil then some_are_settled = redis.call('ZCARD', settled) > 0 end
  return some_are_settled and tonumber(redis.call('ZMSCORE', settled, member)[1] or nil)
end
local function was_told_by_arm(key)
  local at = settled_at('e' .. key)
  return at and at > now - ANNOUNCED_LATE
end
local function was_cancelled(key, score)
  local at = settled_at('c' .. key)
  return at and math.abs(at - math.floor(score)) <= READ_TWICE
end

local codes, fired, later, gone, soonest = {}, {}, {}, {}, -1
local moved, noted_keys, taken_back, ends = {}, {}, {}, {}
for i = 1, count do
  local key, at, score = ARGV[before_keys + i], deadlines[i], scores[i] and tonumber(scores[i])
  local due, code = score and score <= now, 'a'
  if at >= 0 and (wanted == '' or string.sub(wanted, i, i) == '1') then
    if not score or at < score or due or score % 1 > 0 then
      later[#later + 1] = at
      later[#later + 1] = key
    end
    if soonest < 0 or at < soonest then soonest = at end
  elseif at >= -1 then
    if score then gone[#gone + 1] = key end
  elseif at == FORBIDDEN then
    code = 'x'
    if due then gone[#gone + 1] = key end
  else
    local said = string.sub(known, i, i)
    local is_aside = not score and set_aside and set_aside[i] and (at ~= ELSEWHERE or said == 'e')
    if is_aside then
      scores[i] = set_aside[i]
      score = tonumber(scores[i])
      due = score <= now
    end
    local marked = score and score % 1 > 0
    local missed = marked or due and in_gap(score)
    if at == REMOVED then code = 'r'
    elseif said == 'e' then code = not score and was_told_by_arm(key) and 'n' or 'e'
    elseif at == ELSEWHERE then code = missed and was_told_since(key, score) and 'n' or 'm'
    elseif not score then code = 'n'
    elseif said ~= 'd' then code = '?'
    elseif not missed then code = 'd'
    elseif was_told_since(key, score) or was_cancelled(key, score) then code = 'n'
    else code = 'g' end
    if score and code ~= '?' then
      local from = is_aside and taken_back or gone
      from[#from + 1] = key
    end
    if code == 'r' or code == 'e' or code == 'g' then
      local timely = not missed or (not marked and previewed and score > previewed)
      local deadline = marked and string.format('%.0f', score - 0.5) or due and scores[i] or ''
      local has_value = value_at[i] and timely and deadline == ARGV[value_at[i]]
      local value = has_value and ARGV[value_at[i] + 1] or nil
      fired[#fired + 1] = { key, deadline, timely and 'notification' or 'recovery', value }
      if string.sub(graced, i, i) == '1' then ends[#ends + 1] = fired[#fired] end
      if told and score then
        noted_keys[#noted_keys + 1] = deadline ~= '' and tonumber(deadline) - CLOCKS_APART + SHIFTED or now
        noted_keys[#noted_keys + 1] = key
      end
    end
    if code == 'm' and score then
      moved[#moved + 1] = missed and not marked and scores[i] .. '.5' or scores[i]
      moved[#moved + 1] = key
    elseif told and not score and code ~= 'm' then
      noted_keys[#noted_keys + 1] = now
      noted_keys[#noted_keys + 1] = key
    end
  end
  codes[i] = code
end

local line = number .. ' ' .. now .. ' ' .. soonest .. ' ' .. table.concat(codes) .. ' ' .. token
-- As a text once, and not for each call.
local detected = string.format('%.0f', now)
for _, event in ipairs(fired) do
  local key, deadline, source, value = unpack(event, 1, 4)
  if value then
    redis.call('XADD', events, '*', 'k', key, 'd', deadline, 't', detected, 's', source, 'v', value)
  else
    redis.call('XADD', events, '*', 'k', key, 'd', deadline, 't', detected, 's', source)
  end
end
-- A key that fires again was back in between: at its new deadline at the latest.
for _, event in ipairs(ends) do
  local key, deadline = event[1], tonumber(event[2])
  local before = redis.call('ZMSCORE', ended, key)[1]
  if before and tonumber(before) < now then
    local at = deadline and deadline > tonumber(before) and deadline or now
    redis.call('ZADD', back, 'NX', at, before .. ':' .. key)
  end
  redis.call('ZADD', ended, now, key)
end
if #ends > 0 then
  redis.call('ZREMRANGEBYSCORE', ended, '-inf', '(' .. now - grace - 60000)
  redis.call('ZREMRANGEBYSCORE', back, '-inf', '(' .. now - grace - 600000)
end
if #later > 0 then redis.call('ZADD', index, unpack(later)) end
if #moved > 0 then redis.call('ZADD', away, unpack(moved)) end
if #gone > 0 then redis.call('ZREM', index, unpack(gone)) end
if #taken_back > 0 then redis.call('ZREM', away, unpack(taken_back)) end
if #noted_keys > 0 then
  redis.call('ZADD', told, 'GT', unpack(noted_keys))
  local memory = redis.call('ZCARD', told) > 10000 and 60000 or 600000
  redis.call('ZREMRANGEBYSCORE', told, '-inf', now - memory)
end
-- Where writes are refused, this one is only where nothing was written before, and then nothing is done
-- twice. Refused for another reason it must not hide that all was done.
local set = redis.pcall('SET', request, line)
if set.err and count == 0 then return set end
return line
`);
