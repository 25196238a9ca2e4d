import { Script } from '../connection/script.js';
import { DEADLINE_OF } from './deadline-of.lua.js';
import { EACH_KEY } from './each-key.lua.js';

/** See the header of the script. */
export const CANCEL = new Script(`
-- CANCEL: deletes keys that live, and what is noted of them, in the same step.
-- KEYS[1] index      ZSET: when to look at which key
-- KEYS[2] lease      of the leader, if there is one
-- KEYS[3] settled    ZSET of what was settled by somebody else than a leader, by the deadline: 'c<key>' was cancelled
-- KEYS[4] away       on a Cluster: ZSET, as the index, of entries whose keys another node serves
-- ARGV    the keys
-- returns of each key two words: '1' and '1', or '0' where it did not live; or what EACH_KEY says
-- Safe: what has run out is left as it is, so that its expiry is handed over. A leader may have read the key a
--         moment ago, and note its deadline a moment later: 'settled' says that this very life was cancelled. Of a
--         deadline that is far ahead nothing is noted, as such notes would pile up: its entry is found to be that of
--         a deleted key.
local index, lease, settled, away = KEYS[1], KEYS[2], KEYS[3], KEYS[4]
${DEADLINE_OF}
local WORDS = 1
-- How far the deadlines of notes may be ahead, and how old they get, in ms.
local MEMORY = 600000
local function work(at, key)
  if at == -2 then return '0' end
  local deleted = redis.pcall('DEL', key)
  if type(deleted) == 'table' then return deleted end
  redis.call('ZREM', index, key)
  if away then redis.call('ZREM', away, key) end
  if at >= 0 and at < now + MEMORY and redis.call('GET', lease) then
    redis.call('ZADD', settled, at, 'c' .. key)
    redis.call('ZREMRANGEBYSCORE', settled, '-inf', now - MEMORY)
  end
  return '1'
end
${EACH_KEY}
`);
