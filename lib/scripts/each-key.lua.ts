/**
 * Lua that the scripts end with which writers of keys send: see `ArmedKeys`. It needs `deadline_of`, the number `WORDS`
 * of arguments for each key, of which the first is its name, and `work(at, key, i)`, which is given what `deadline_of`
 * said, the key, and where its arguments begin. It returns a text, or an error reply.
 *
 * The keys are arguments and not KEYS, see `DEADLINE_OF`. What is said of each of them is one pair of words:
 * '1' and the text; '0' and '' where the key is elsewhere, and `work` was not called; or '-1' and the server's error.
 * Elsewhere is a key that another node of the Cluster serves, or that is not here while its slot is on its way.
 */
export const EACH_KEY = `
local answer = {}
for i = 1, #ARGV, WORDS do
  local key = ARGV[i]
  local at = deadline_of(key)
  local kind, said = '1', nil
  if type(at) == 'table' then
    if string.find(at.err, 'non local key', 1, true) then kind, said = '0', ''
    else kind, said = '-1', at.err end
  elseif at == -5 then
    kind, said = '-1', 'NOPERM the ACL forbids this key'
  else
    said = work(at, key, i)
    if type(said) == 'table' then kind, said = '-1', said.err end
  end
  answer[#answer + 1] = kind
  answer[#answer + 1] = said
end
return answer
`;
