-- Notes how many attempts were begun at entries, which renews their leases. Those that are not
-- ours any more are left alone.
-- KEYS: messages, again. ARGV: group, consumer, then for each: entry, count.
-- Answers for each that is not ours: its index, and why.
local group, consumer = ARGV[1], ARGV[2]
local unmoved = {}
for i = 3, #ARGV, 2 do
  local count = ARGV[i + 1]
  local stream, entry = place(KEYS[1], KEYS[2], ARGV[i])
  local why = lost(stream, group, entry, consumer)
  if not why then
    local claim = { 'XCLAIM', stream, group, consumer, 0, entry, 'RETRYCOUNT', count, 'JUSTID' }
    -- Somebody has deleted it from the stream.
    if #redis.call(unpack(claim)) == 0 then why = 'gone' end
  end
  if why then
    unmoved[#unmoved + 1] = (i - 3) / 2
    unmoved[#unmoved + 1] = why
  end
end
return unmoved
