-- Hands parked messages that are due to a consumer.
-- KEYS: parked, again, heads. ARGV: group, consumer, how many at most, and how many bytes.
-- Answers the entries, and the ms until the next is due, or -1.
local parked, again, group, consumer = KEYS[1], KEYS[2], ARGV[1], ARGV[2]
local time = redis.call('TIME')
local now = time[1] * 1000 + math.floor(time[2] / 1000)
local function first()
  local due = redis.call('ZRANGE', parked, 0, 0, 'WITHSCORES')[2]
  return due and math.max(0, due - now) or -1
end
local entries, next = {}, first()
if next ~= 0 then return { entries, next } end
-- Fails without the group, before anything is moved.
redis.call('XPENDING', again, group)
take(again, group, nothing)
local latest, bytes = string.format('%.0f', now), tonumber(ARGV[4])
-- One by one: they may be large.
for _ = 1, tonumber(ARGV[3]) do
  local member = redis.call('ZRANGEBYSCORE', parked, '-inf', latest, 'LIMIT', 0, 1)[1]
  if not member or bytes <= 0 then break end
  bytes = bytes - #member
  entries[#entries + 1] = hand(again, group, consumer, KEYS[3], 'parked', member)
  redis.call('ZREM', parked, member)
end
return { entries, first() }
