import { Script } from '../connection/script.js';

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
