-- Makes these parked messages due now, those that are still parked.
-- KEYS: parked. ARGV: members. Answers how many were.
local time = redis.call('TIME')
local now = string.format('%.0f', time[1] * 1000 + math.floor(time[2] / 1000))
local moved = 0
for _, member in ipairs(ARGV) do
  if redis.call('ZSCORE', KEYS[1], member) then
    redis.call('ZADD', KEYS[1], now, member)
    moved = moved + 1
  end
end
return moved
