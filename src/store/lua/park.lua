-- Parks messages, or appends those that are due to the stream; those that were entries of the
-- stream leave it in the same moment (as in bury.lua). A parked message is one member: a line
-- with what is known of it, then its bytes.
-- KEYS: parked, messages. ARGV: group, prefix of the keys that remember ids, for how long (ms),
-- then for each message: its entry or '', delay (ms), 'once' or '', attempts, received, id,
-- source, bytes.
local time = redis.call('TIME')
local now = time[1] * 1000 + math.floor(time[2] / 1000)
for i = 4, #ARGV, 8 do
  local entry, delay, once, attempts, received, id, source, message = unpack(ARGV, i, i + 7)
  local mine = true
  if entry ~= '' then
    mine = redis.call('XACK', KEYS[2], ARGV[1], entry) + redis.call('XDEL', KEYS[2], entry) > 0
  elseif once ~= '' then
    mine = redis.call('SET', ARGV[2] .. id, '', 'NX', 'PX', ARGV[3])
  end
  if mine and tonumber(delay) > 0 then
    local line = attempts .. ' ' .. received .. ' ' .. id .. ' ' .. source .. '\n'
    redis.call('ZADD', KEYS[1], string.format('%.0f', now + delay), line .. message)
  elseif mine then
    redis.call('XADD', KEYS[2], '*', 'message', message, 'attempts', attempts,
      'received_ms', received, 'id', id, 'source', source)
  end
end
