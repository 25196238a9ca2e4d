import { Script } from '../connection/script.js';

/** See the header of the script. */
export const WITHDRAW_HANDLERS = new Script(`
-- WITHDRAW-HANDLERS: says that an instance leaves, and has no handlers any more.
-- KEYS[1]   instances, as of NOTE-HANDLERS
-- ARGV[1]   instance
-- returns   1 if it had handlers, else 0
-- Safe: may be repeated; changes entries of this instance only.
local instances, instance = KEYS[1], ARGV[1]
local time = redis.call('TIME')
local now = time[1] * 1000 + math.floor(time[2] / 1000)
local mark, had = ' ' .. instance, 0
for _, entry in ipairs(redis.call('ZRANGE', instances, 0, -1)) do
  if string.sub(entry, -#mark) == mark and string.sub(entry, 1, 1) ~= '-' then
    redis.call('ZREM', instances, entry)
    redis.call('ZADD', instances, now, '-' .. entry)
    had = 1
  end
end
return had
`);
