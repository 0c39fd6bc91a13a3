-- Sends nothing to a URL or origin for now, and tells all replicas. What an operator has paused
-- is not changed by an answer of 410.
-- KEYS: holds. ARGV: channel, cause, for how long (ms, -1: until lifted), URL or origin.
local channel, cause, left, key = unpack(ARGV)
local time = redis.call('TIME')
local now = time[1] * 1000 + math.floor(time[2] / 1000)
if cause == 'gone' and redis.call('ZSCORE', KEYS[1], 'paused ' .. key) then return end
redis.call('ZREMRANGEBYSCORE', KEYS[1], '-inf', string.format('%.0f', now))
redis.call('ZREM', KEYS[1], 'gone ' .. key)
local ends = tonumber(left) < 0 and '+inf' or string.format('%.0f', now + left)
redis.call('ZADD', KEYS[1], ends, cause .. ' ' .. key)
redis.call('PUBLISH', channel, 'hold ' .. cause .. ' ' .. left .. ' ' .. key)
