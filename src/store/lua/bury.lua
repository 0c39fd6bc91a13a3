-- Keeps dead letters; those that were entries of the stream leave it in the same moment, if they
-- are still ours.
-- KEYS: dead, messages, again. ARGV: group, consumer, then for each letter: its entry or '', n, n names
-- and values. Answers for each that is not ours: its index, and why.
local dead, group, consumer = KEYS[1], ARGV[1], ARGV[2]
local unmoved = {}
local i, index = 3, 0
while i <= #ARGV do
  local n = tonumber(ARGV[i + 1])
  local stream, entry = place(KEYS[2], KEYS[3], ARGV[i])
  local why = entry ~= '' and lost(stream, group, entry, consumer)
  if why then
    unmoved[#unmoved + 1] = index
    unmoved[#unmoved + 1] = why
  else
    if entry ~= '' then take(stream, group, nothing) end
    redis.call('XADD', dead, '*', unpack(ARGV, i + 2, i + 1 + n))
    if entry ~= '' then take(stream, group, entry) end
  end
  i, index = i + 2 + n, index + 1
end
return unmoved
