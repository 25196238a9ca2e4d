import { Script } from '../connection/script.js';
import { REFUSED_OF } from './refused-of.lua.js';

/** See the header of the script. */
export const PROBE_VALUES = new Script(`
-- PROBE-VALUES: tries each command by which values are read, so that a user who may not run one of them is found out
--               before a value is missing.
-- KEYS    none: users' keys are not declared
-- ARGV[1] a key of which the value may be asked for, whether it exists or not
-- ARGV[2] which values are asked for: 's' of strings, 'h' of hashes, 'e' of either
-- returns {command, error...} of each command that was refused; what an error says is for the caller to read. That
--         this very key is forbidden, or of another type, tells nothing: there are others
-- Safe: reads only.
local key, kinds = ARGV[1], ARGV[2]
${REFUSED_OF}local calls = {}
if kinds ~= 'h' then calls[#calls + 1] = { 'GETRANGE', key, 0, 0 } end
if kinds ~= 's' then
  calls[#calls + 1] = { 'HLEN', key }
  calls[#calls + 1] = { 'HKEYS', key }
  calls[#calls + 1] = { 'HSTRLEN', key, '' }
  calls[#calls + 1] = { 'HGETALL', key }
end
return refused_of(calls)
`);
