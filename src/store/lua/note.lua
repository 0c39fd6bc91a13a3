-- Notes how many attempts were begun at entries, which renews their leases. Those that are not
-- ours any more are left alone.
-- KEYS: messages. ARGV: group, consumer, then for each: entry, count.
-- Answers for each that is not ours: its index, and why.
local messages, group, consumer = KEYS[1], ARGV[1], ARGV[2]
local unmoved = {}
for i = 3, #ARGV, 2 do
  local entry, count = ARGV[i], ARGV[i + 1]
  local why = lost(messages, group, entry, consumer)
  if not why then
    local claim = { 'XCLAIM', messages, group, consumer, 0, entry, 'RETRYCOUNT', count, 'JUSTID' }
    -- Somebody has deleted it from the stream.
    if #redis.call(unpack(claim)) == 0 then why = 'gone' end
  end
  if why then
    unmoved[#unmoved + 1] = (i - 3) / 2
    unmoved[#unmoved + 1] = why
  end
end
return unmoved
