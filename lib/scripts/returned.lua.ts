import { Script } from '../connection/script.js';

/** See the header of the script. */
export const RETURNED = new Script(`
-- RETURNED: notes which keys have come back that ran out a while ago.
-- KEYS[1] ended
-- KEYS[2] back
-- ARGV    for each key of this server, some hundreds: the key; and when its expiry was fired after which it was
--         created for certain, or '' where it is to be looked whether the key is there
-- returns how many had run out and are back
-- Safe: a key that had been found gone, and is there now, has come back, whoever asks and however late. One that was
--         created after its expiry came back, if that is still its last one. Of one that ran out again SWEEP notes
--         it. The keys are not declared: see DEADLINE_OF.
local ended, back = KEYS[1], KEYS[2]
local keys = {}
for i = 1, #ARGV, 2 do keys[#keys + 1] = ARGV[i] end
local times = redis.call('ZMSCORE', ended, unpack(keys))
local time = redis.call('TIME')
local now = time[1] * 1000 + math.floor(time[2] / 1000)
local count = 0
for i, key in ipairs(keys) do
  local at, created_after = times[i], ARGV[2 * i]
  local is_back = at and at == created_after
  if at and created_after == '' then
    local left = redis.pcall('PTTL', key)
    is_back = type(left) == 'number' and left >= -1
  end
  if is_back then
    redis.call('ZADD', back, 'NX', now, at .. ':' .. key)
    redis.call('ZREM', ended, key)
    count = count + 1
  end
end
return count
`);
