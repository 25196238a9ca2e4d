import { Script } from '../connection/script.js';

/** See the header of the script. */
export const BEGIN = new Script(`
-- BEGIN: notes that handlers are about to run for entries.
-- KEYS[1] events
-- KEYS[2] runs
-- ARGV[1] group
-- ARGV[2] consumer
-- ARGV[3] and on, for each kind of note: the note, which is how often each handler of the entry began to
--         run, these runs included, as JSON; how many entries get it; their ids. A thousand entries at most
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
