-- Keeps dead letters; those that were entries of the stream leave it in the same moment, if they
-- are still ours, and if one was the head of its key, the next may go.
-- KEYS: dead, messages, again, heads, parked, then lists of keys. ARGV: group, consumer, then for
-- each letter: its entry or '', the key whose head it was or '', which of KEYS is its list or '', n,
-- n names and values. Answers whether a next one may go, then for each letter that is not ours: its
-- index, and why.
local dead, messages, again, heads, parked = unpack(KEYS, 1, 5)
local group, consumer = ARGV[1], ARGV[2]
local answer = { 0 }
local i, index = 3, 0
while i <= #ARGV do
  local held, key, list, n = unpack(ARGV, i, i + 3)
  n = tonumber(n)
  local stream, entry = place(messages, again, held)
  local why = held ~= '' and lost(stream, group, entry, consumer)
  if why then
    answer[#answer + 1] = index
    answer[#answer + 1] = why
  else
    if held ~= '' then take(stream, group, nothing) end
    redis.call('XADD', dead, '*', unpack(ARGV, i + 4, i + 3 + n))
    if key ~= '' then
      answer[1] = answer[1] + promote(heads, parked, KEYS[tonumber(list)], key, held)
    end
    if held ~= '' then take(stream, group, entry) end
  end
  i, index = i + 4 + n, index + 1
end
return answer
