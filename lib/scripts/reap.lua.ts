import { Script } from '../connection/script.js';

/** See the header of the script. */
export const REAP = new Script(`
-- REAP: removes consumers of instances that are gone, once nothing is pending with them.
-- KEYS[1] events
-- ARGV[1] group
-- ARGV[2] ms without a sign of life
-- ARGV[3] the caller's own consumer
-- returns how many were removed
-- Safe: looks and removes in one step; a consumer that lives after all is made anew when it reads.
local events, group, lifetime, own = KEYS[1], ARGV[1], tonumber(ARGV[2]), ARGV[3]
local removed = 0
for _, info in ipairs(redis.call('XINFO', 'CONSUMERS', events, group)) do
  local of = {}
  for i = 1, #info, 2 do of[info[i]] = info[i + 1] end
  if of.pending == 0 and of.idle > lifetime and of.name ~= own then
    redis.call('XGROUP', 'DELCONSUMER', events, group, of.name)
    removed = removed + 1
  end
end
return removed
`);
