-- Keeps dead letters; those that were entries of the stream leave it in the same moment. An
-- entry that is no longer there was settled by someone else, or this is a repetition.
-- KEYS: dead, messages. ARGV: group, then for each letter: its entry or '', n, n names and values.
local i = 2
while i <= #ARGV do
  local entry, n = ARGV[i], tonumber(ARGV[i + 1])
  local mine = entry == ''
    or redis.call('XACK', KEYS[2], ARGV[1], entry) + redis.call('XDEL', KEYS[2], entry) > 0
  if mine then
    redis.call('XADD', KEYS[1], '*', unpack(ARGV, i + 2, i + 1 + n))
  end
  i = i + 2 + n
end
