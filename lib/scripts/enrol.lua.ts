import { Script } from '../connection/script.js';
import { DEADLINE_OF } from './deadline-of.lua.js';
import { EACH_KEY } from './each-key.lua.js';

/** See the header of the script. */
export const ENROL = new Script(`
-- ENROL: notes the deadlines of keys that somebody else wrote.
-- KEYS[1] index      ZSET: when to look at which key
-- ARGV    the keys
-- returns of each key two words: '1' and '1', or '0' where it has no deadline; or what EACH_KEY says
-- Safe: looks and notes in one step, so nothing is noted of a key that is gone. Of a key that the index knows the
--         sooner look counts.
local index = KEYS[1]
${DEADLINE_OF}
local WORDS = 1
local function work(at, key)
  if at < 0 then return '0' end
  redis.call('ZADD', index, 'LT', at, key)
  return '1'
end
${EACH_KEY}
`);
