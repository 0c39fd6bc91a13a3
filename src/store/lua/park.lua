-- Parks messages, or appends those that are due to the stream; those that were entries of the
-- stream leave it in the same moment, if they are still ours. A parked message is one member: a
-- line with what is known of it, then its bytes.
-- KEYS: parked, messages. ARGV: group, consumer, prefix of the keys that remember ids, for how
-- long (ms), then for each message: its entry or '', delay (ms), 'once' or '', attempts, received,
-- id, source, bytes.
-- Answers for each that was not moved: its index, and why.
local parked, messages, group, consumer = KEYS[1], KEYS[2], ARGV[1], ARGV[2]
local time = redis.call('TIME')
local now = time[1] * 1000 + math.floor(time[2] / 1000)

-- Before the first is moved: both must be what they are taken for.
redis.call('ZCARD', parked)
redis.call('XLEN', messages)

local unmoved = {}
local function move(i)
  local entry, delay, once, attempts, received, id, source, message = unpack(ARGV, i, i + 7)
  local why = entry ~= '' and lost(messages, group, entry, consumer)
  if why then return why end
  local add
  if tonumber(delay) > 0 then
    local member = attempts .. ' ' .. received .. ' ' .. id .. ' ' .. source .. '\n' .. message
    -- NX: a repetition changes nothing.
    add = { 'ZADD', parked, 'NX', string.format('%.0f', now + delay), member }
  else
    add = { 'XADD', messages, '*', 'message', message, 'attempts', attempts,
      'received_ms', received, 'id', id, 'source', source }
  end
  local seen = ARGV[3] .. id
  if entry ~= '' then take(messages, group, nothing) end
  if once ~= '' and not redis.call('SET', seen, '', 'NX', 'PX', ARGV[4]) then return 'copy' end
  local added = redis.pcall(unpack(add))
  if type(added) == 'table' and added.err then
    -- Not to be taken for one that has come already when it is offered again.
    if once ~= '' then redis.call('GETDEL', seen) end
    return added
  end
  if entry ~= '' then take(messages, group, entry) end
end

for i = 5, #ARGV, 8 do
  local why = move(i)
  if type(why) == 'table' then return why end
  if why then
    unmoved[#unmoved + 1] = (i - 5) / 8
    unmoved[#unmoved + 1] = why
  end
end
return unmoved
