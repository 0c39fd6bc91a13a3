-- Moves parked messages that are due to the end of the stream. What is not ours (someone put it
-- there by hand) goes too: the consumer then says what is wrong with it.
-- KEYS: parked, messages. ARGV: how many at most, latest due time (Unix ms) or '' for now.
-- Answers how many were moved, and the ms until the next is due, or -1.
local time = redis.call('TIME')
local now = time[1] * 1000 + math.floor(time[2] / 1000)
local latest = ARGV[2] == '' and string.format('%.0f', now) or ARGV[2]
local due = redis.call('ZRANGEBYSCORE', KEYS[1], '-inf', latest, 'LIMIT', 0, ARGV[1])
for _, member in ipairs(due) do
  redis.call('ZREM', KEYS[1], member)
  local attempts, received, id, source, message =
    string.match(member, '^(%d+) (%d+) (%S+) ([^\n]*)\n(.*)$')
  if attempts then
    redis.call('XADD', KEYS[2], '*', 'message', message, 'attempts', attempts,
      'received_ms', received, 'id', id, 'source', source)
  else
    redis.call('XADD', KEYS[2], '*', 'message', member)
  end
end
local first = redis.call('ZRANGE', KEYS[1], 0, 0, 'WITHSCORES')[2]
return { #due, first and math.max(0, first - now) or -1 }
