import { Script } from '../connection/script.js';
import { DEADLINE_OF } from './deadline-of.lua.js';
import { EACH_KEY } from './each-key.lua.js';

/** See the header of the script. */
export const RENEW = new Script(`
-- RENEW: gives keys that live another time to live, and notes their deadlines in the same step.
-- KEYS[1] index      ZSET: when to look at which key
-- ARGV    of each key its name, its time to live in ms, '1' if it is given a value or '', and that value
-- returns of each key two words: '1' and '1', or '0' where it had run out; or what EACH_KEY says
-- Safe: what has run out is left as it is, and its entry says so to whoever settles it. To look at such a key makes
--         Redis announce it, which the leader hears. Between the two writes of a script that failed stands the
--         sooner deadline, which is one look too many.
local index = KEYS[1]
${DEADLINE_OF}
local WORDS = 4
local function work(at, key, i)
  local ttl, has_value, value = tonumber(ARGV[i + 1]), ARGV[i + 2] == '1', ARGV[i + 3]
  if at == -2 then return '0' end
  local deadline = now + ttl
  local done
  if has_value then done = redis.pcall('SET', key, value, 'PXAT', deadline)
  else done = redis.pcall('PEXPIRE', key, ttl) end
  if type(done) == 'table' and done.err then return done end
  if not has_value then deadline = deadline_of(key) end
  redis.call('ZADD', index, deadline, key)
  return '1'
end
${EACH_KEY}
`);
