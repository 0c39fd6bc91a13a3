-- Deletes a message that is the head of its key, and lets the next go.
-- KEYS: where it is, heads, parked, list of its key. ARGV: what that is ('parked' or 'backlog'), key,
-- the member. Answers whether it was there.
local from, heads, parked, list = unpack(KEYS)
local where, key, member = unpack(ARGV)
local gone
if where == 'parked' then
  gone = redis.call('ZREM', from, member)
else
  gone = redis.call('LREM', from, 1, member)
end
if gone == 1 then
  local _, which = marked(member, key)
  promote(heads, parked, list, key, where .. ' ' .. (which or ''))
end
return gone
