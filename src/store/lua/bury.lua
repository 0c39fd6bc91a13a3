-- Keeps dead letters; those that were entries of the stream leave it in the same moment, if they
-- are still ours.
-- KEYS: dead, messages. ARGV: group, consumer, then for each letter: its entry or '', n, n names
-- and values. Answers for each that is not ours: its index, and why.
local dead, messages, group, consumer = KEYS[1], KEYS[2], ARGV[1], ARGV[2]
local unmoved = {}
local i, index = 3, 0
while i <= #ARGV do
  local entry, n = ARGV[i], tonumber(ARGV[i + 1])
  local why = entry ~= '' and lost(messages, group, entry, consumer)
  if why then
    unmoved[#unmoved + 1] = index
    unmoved[#unmoved + 1] = why
  else
    if entry ~= '' then take(messages, group, nothing) end
    redis.call('XADD', dead, '*', unpack(ARGV, i + 2, i + 1 + n))
    if entry ~= '' then take(messages, group, entry) end
  end
  i, index = i + 2 + n, index + 1
end
return unmoved
