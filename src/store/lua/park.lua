-- Parks messages, or appends those that are due to the stream; those that were entries of the
-- stream leave it in the same moment. A parked message is one member: a line with what is known
-- of it, then its bytes.
-- KEYS: parked, messages. ARGV: group, prefix of the keys that remember ids, for how long (ms),
-- then for each message: its entry or '', delay (ms), 'once' or '', attempts, received, id,
-- source, bytes.
local parked, messages, group = KEYS[1], KEYS[2], ARGV[1]
local time = redis.call('TIME')
local now = time[1] * 1000 + math.floor(time[2] / 1000)

-- Before the first is moved: both must be what they are taken for.
redis.call('ZCARD', parked)
redis.call('XLEN', messages)

for i = 4, #ARGV, 8 do
  local entry, delay, once, attempts, received, id, source, message = unpack(ARGV, i, i + 7)
  local add
  if tonumber(delay) > 0 then
    local member = attempts .. ' ' .. received .. ' ' .. id .. ' ' .. source .. '\n' .. message
    -- NX: a repetition changes nothing.
    add = { 'ZADD', parked, 'NX', string.format('%.0f', now + delay), member }
  else
    add = { 'XADD', messages, '*', 'message', message, 'attempts', attempts,
      'received_ms', received, 'id', id, 'source', source }
  end
  local seen = ARGV[2] .. id
  if entry ~= '' then take(messages, group, nothing) end
  if once == '' or redis.call('SET', seen, '', 'NX', 'PX', ARGV[3]) then
    local added = redis.pcall(unpack(add))
    if type(added) == 'table' and added.err then
      -- Not to be taken for one that has come already when it is offered again.
      if once ~= '' then redis.call('GETDEL', seen) end
      return added
    end
    if entry ~= '' and not take(messages, group, entry) then
      if add[1] == 'XADD' then
        redis.call('XDEL', messages, added)
      elseif added == 1 then
        redis.call('ZREM', parked, add[5])
      end
    end
  end
end
