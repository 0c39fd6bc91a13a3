-- Keeps dead letters; those that were entries of the stream leave it in the same moment.
-- KEYS: dead, messages. ARGV: group, then for each letter: its entry or '', n, n names and values.
local dead, messages, group = KEYS[1], KEYS[2], ARGV[1]
local i = 2
while i <= #ARGV do
  local entry, n = ARGV[i], tonumber(ARGV[i + 1])
  if entry ~= '' then take(messages, group, nothing) end
  local letter = redis.call('XADD', dead, '*', unpack(ARGV, i + 2, i + 1 + n))
  if entry ~= '' and not take(messages, group, entry) then redis.call('XDEL', dead, letter) end
  i = i + 2 + n
end
