/**
 * Lua by which scripts try commands: `refused_of(calls)` runs each call, which is an array of its words, and returns
 * {command, error...} of those that were refused.
 */
export const REFUSED_OF = `
local function refused_of(calls)
  local refused = {}
  for _, call in ipairs(calls) do
    local reply = redis.pcall(unpack(call))
    if type(reply) == 'table' and reply.err then
      refused[#refused + 1] = call[1]
      refused[#refused + 1] = reply.err
    end
  end
  return refused
end
`;
