-- Takes entries out of the group and the stream that were the heads of their keys, and lets the
-- next of each go. One that is not the head any more goes alone, so a repetition does nothing.
-- KEYS: heads, parked, messages, again, then for each entry the list of its key. ARGV: group, then
-- for each: its entry, the key. Answers how many may go.
local heads, parked, messages, again = unpack(KEYS, 1, 4)
local promoted = 0
for i = 2, #ARGV, 2 do
  local stream, entry = place(messages, again, ARGV[i])
  take(stream, ARGV[1], nothing)
  promoted = promoted + promote(heads, parked, KEYS[4 + i / 2], ARGV[i + 1], ARGV[i])
  take(stream, ARGV[1], entry)
end
return promoted
