/**
 * Lua that SWEEP and WARN share, for the values that were read of some keys. It needs `valued`, of each key one
 * character, '1' if there is a value; and `before_keys`, the place before the first word of these values: of each its
 * deadline and its bytes. After it, `value_at` says by the number of a key where its value's deadline is, and
 * `before_keys` is the place before the first key.
 */
export const VALUE_PLACES = `
local value_at = {}
for i = 1, #valued do
  if string.byte(valued, i) == 49 then
    value_at[i] = before_keys + 1
    before_keys = before_keys + 2
  end
end
`;
