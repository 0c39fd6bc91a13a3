-- Moves parked messages that are due to the end of the stream.
-- KEYS: parked, messages. ARGV: how many at most.
-- Answers how many were moved, and the ms until the next is due, or -1.
local time = redis.call('TIME')
local now = time[1] * 1000 + math.floor(time[2] / 1000)
local function first()
  local due = redis.call('ZRANGE', KEYS[1], 0, 0, 'WITHSCORES')[2]
  return due and math.max(0, due - now) or -1
end
local next = first()
if next ~= 0 then return { 0, next } end
local latest = string.format('%.0f', now)
local due = redis.call('ZRANGEBYSCORE', KEYS[1], '-inf', latest, 'LIMIT', 0, ARGV[1])
for _, member in ipairs(due) do
  unpark(KEYS[1], member, KEYS[2])
end
return { #due, first() }
