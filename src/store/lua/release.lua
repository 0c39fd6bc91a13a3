-- Hands the oldest messages that wait for an endpoint to a consumer.
-- KEYS: backlog, backlogs, again, heads. ARGV: name of the backlog, group, consumer, how many at most, how
-- many bytes, and until when they were received (Unix ms) or ''. Answers the entries, how many are
-- left, and when the oldest of these was received.
local backlog, backlogs, again = KEYS[1], KEYS[2], KEYS[3]
local name, group, consumer, bytes = ARGV[1], ARGV[2], ARGV[3], tonumber(ARGV[5])
-- Fails without the group, before anything is moved.
redis.call('XPENDING', again, group)
redis.call('ZCARD', backlogs)
local latest = tonumber(ARGV[6])
local function received(member)
  return string.match(member, '^%d+ (%d+) ') or '0'
end
local entries = {}
take(again, group, nothing)
-- One by one: they may be large.
for _ = 1, tonumber(ARGV[4]) do
  local member = redis.call('LINDEX', backlog, 0)
  if not member or bytes <= 0 or latest and tonumber(received(member)) > latest then break end
  bytes = bytes - #member
  entries[#entries + 1] = hand(again, group, consumer, KEYS[4], 'backlog', member)
  redis.call('LPOP', backlog)
end
local left = redis.call('LLEN', backlog)
local oldest = ''
if left == 0 then
  redis.call('ZREM', backlogs, name)
else
  oldest = received(redis.call('LINDEX', backlog, 0))
  redis.call('ZADD', backlogs, oldest, name)
end
return { entries, left, oldest }
