-- Puts a parked message (a line with what is known of it, then its bytes) at the end of a stream.
-- What is not ours goes too: the consumer then says what is wrong with it.
local function append(stream, member)
  local attempts, received, id, source, message =
    string.match(member, '^(%d+) (%d+) (%S+) ([^\n]*)\n(.*)$')
  if attempts then
    redis.call('XADD', stream, '*', 'message', message, 'attempts', attempts,
      'received_ms', received, 'id', id, 'source', source)
  else
    redis.call('XADD', stream, '*', 'message', member)
  end
end
