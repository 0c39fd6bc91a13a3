-- Takes what was added in order, from its beginning: the first of a key becomes its head and is
-- handed to a consumer, the others follow in its list. Another replica may be ahead: then this ends.
-- KEYS: ordered, again, heads, then for each entry the list of its key. ARGV: group, consumer, then
-- for each: its entry, its key or '', and what it is in that list, or '' if it is no message (whoever
-- reads it then says what is wrong with it).
-- Answers the entries that were handed out, and how many were taken.
local ordered, again, heads = unpack(KEYS, 1, 3)
local group, consumer = ARGV[1], ARGV[2]
-- Fails without the group, before anything is moved.
redis.call('XPENDING', again, group)
take(again, group, nothing)
local entries, dealt = {}, 0
for i = 3, #ARGV, 3 do
  local entry, key, member = unpack(ARGV, i, i + 2)
  local first = redis.call('XRANGE', ordered, '-', '+', 'COUNT', 1)[1]
  if not first or first[1] ~= entry then break end
  if member == '' then
    local fields = first[2]
    -- More would be too many for a call.
    if #fields > 1000 then fields = { 'fields', table.concat(fields, ' ') } end
    entries[#entries + 1] = hold(again, group, consumer, fields)
  elseif key == '' then
    entries[#entries + 1] = hand(again, group, consumer, heads, '', member)
  elseif redis.call('HGET', heads, key) then
    redis.call('RPUSH', KEYS[3 + i / 3], member)
  else
    entries[#entries + 1] = hand(again, group, consumer, heads, '', (marked(member, key)))
  end
  redis.call('XDEL', ordered, entry)
  dealt = dealt + 1
end
return { entries, dealt }
