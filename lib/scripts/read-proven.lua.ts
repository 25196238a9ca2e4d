import { Script } from '../connection/script.js';
import { DEADLINE_OF } from './deadline-of.lua.js';

/** See the header of the script. */
export const READ_PROVEN = new Script(`
-- READ-PROVEN: when some keys run out, and which of them expired by this very look.
-- KEYS[1] index      of a group, ZSET: when to look at which key. What has a deadline is noted there; none for broadcast
-- ARGV    the keys, some hundreds at most: about 1 us each. They are not declared, see DEADLINE_OF
-- returns {now in epoch ms, ms to live of each key...}; -1 without a deadline, -2 gone before,
--         -3 where this look itself made Redis remove it: proof that it expired and was not deleted;
--         -4 where another node of the Cluster serves it, also while its slot is on its way to here, unless
--         ASKING was sent before; -5 where the ACL forbids the key
-- Safe: notes in the step in which it looks, so nothing is noted of a key that is gone; of a key that the index knows
--         the sooner look counts. Nothing else runs between two commands of a script, so where the
-- number of keys falls across a look, that look removed the key.
${DEADLINE_OF}
local index, keys = KEYS[1], ARGV
local reply, known = {}, {}
local size = redis.call('DBSIZE')
for i = 1, #keys do
  local at = deadline_of(keys[i])
  if type(at) == 'table' then
    if not string.find(at.err, 'non local key', 1, true) then return at end
    at = -4
  elseif at == -2 then
    local left = redis.call('DBSIZE')
    if left < size then at = -3 end
    size = left
  end
  reply[i + 1] = at
  if index and at >= 0 then
    known[#known + 1] = at
    known[#known + 1] = keys[i]
  end
end
if #known > 0 then redis.call('ZADD', index, 'LT', unpack(known)) end
reply[1] = now
for i = 2, #keys + 1 do
  if reply[i] >= 0 then reply[i] = reply[i] - now end
end
return reply
`);
