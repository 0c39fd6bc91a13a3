-- Lets the next of a key go where its head is not any more: it was deleted or trimmed, or an operator
-- does not want it to be waited for.
-- KEYS: heads, parked, messages, again, list. ARGV: group, key, where the head was, 'skip' if that is
-- no matter. Answers whether it was there and is not waited for any more.
local heads, parked, messages, again, list = unpack(KEYS)
local group, key, head = unpack(ARGV, 1, 3)
if redis.call('HGET', heads, key) ~= head then return 0 end
if ARGV[4] ~= 'skip' then
  local stream, entry = place(messages, again, head)
  if redis.call('XRANGE', stream, entry, entry)[1] then return 0 end
  if lost(stream, group, entry, '') ~= 'gone' then return 0 end
end
promote(heads, parked, list, key, head)
return 1
