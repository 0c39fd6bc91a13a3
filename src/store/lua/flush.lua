-- Moves these parked messages to the end of the stream, those that are still parked.
-- KEYS: parked, messages. ARGV: members. Answers how many were moved.
local moved = 0
for _, member in ipairs(ARGV) do
  if redis.call('ZSCORE', KEYS[1], member) then
    unpark(KEYS[1], member, KEYS[2])
    moved = moved + 1
  end
end
return moved
