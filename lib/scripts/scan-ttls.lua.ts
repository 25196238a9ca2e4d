import { Script } from '../connection/script.js';
import { DEADLINE_OF } from './deadline-of.lua.js';

/** See the header of the script. */
export const SCAN_TTLS = new Script(`
-- SCAN-TTLS: one page of the keys that match, and when they run out, in one round trip.
-- KEYS    none: which keys a page holds is what it finds out
-- ARGV[1] cursor
-- ARGV[2] glob pattern
-- ARGV[3] how many keys to look at
-- ARGV[4] and on, for each filter: how its keys begin, how they end, '1' if all such keys match or '0' if
--         only some do. Without a filter all keys of the glob pattern match.
-- returns {next cursor ('0' at the end), now in epoch ms, key, ms to live, key, ms to live...}; keys
--         without a deadline are left out, and those that are on their way from another node of a Cluster
--         and were not asked for by ASKING. In place of ms, -1 is said of a key that only some filter of the kind '0' lets through:
--         it is not looked at, as it may be one that the user may not read; and of one that was, and may not
-- Safe: writes nothing of its own; a page is bounded by its count. As SCAN promises, a key that is
-- there all the while is returned at least once.
${DEADLINE_OF}
local cursor, pattern, count = ARGV[1], ARGV[2], ARGV[3]
local lengths, filters, none = {}, {}, {}
for i = 4, #ARGV, 3 do
  local head, tail = ARGV[i], ARGV[i + 1]
  if not filters[#head] then
    filters[#head] = {}
    lengths[#lengths + 1] = #head
  end
  local alike = filters[#head][head] or {}
  filters[#head][head] = alike
  alike[#alike + 1] = { tail = tail, least = #head + #tail, exact = ARGV[i + 2] == '1' }
end
-- 'yes', 'perhaps' or nil
local function matches(key)
  if #lengths == 0 then return 'yes' end
  local answer
  for _, length in ipairs(lengths) do
    for _, filter in ipairs(filters[length][string.sub(key, 1, length)] or none) do
      if #key >= filter.least and (filter.tail == '' or string.sub(key, -#filter.tail) == filter.tail) then
        if filter.exact then return 'yes' end
        answer = 'perhaps'
      end
    end
  end
  return answer
end
local page = redis.call('SCAN', cursor, 'MATCH', pattern, 'COUNT', count)
local reply = { page[1] }
local n = 2
for _, key in ipairs(page[2]) do
  local answer = matches(key)
  local at = answer == 'perhaps' and -1 or -2
  if answer == 'yes' then
    at = deadline_of(key)
    if type(at) == 'table' then
      if not string.find(at.err, 'non local key', 1, true) then return at end
      at = -2
    end
    -- Whoever reads it by itself says that it may not be read.
    if at == -5 then answer = 'perhaps' end
  end
  if at >= 0 or answer == 'perhaps' then
    reply[n + 1] = key
    reply[n + 2] = math.max(at, -1)
    n = n + 2
  end
end
reply[2] = now
for i = 4, n, 2 do
  if reply[i] >= 0 then reply[i] = reply[i] - now end
end
return reply
`);
