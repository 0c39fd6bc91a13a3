-- How a message moves: it is added where it goes, and then taken from where it was, as a script
-- that fails is not undone. Taking comes last, so it must not fail: it is tried before, on nothing.
-- (That also makes it no matter that a server without memory refuses the first write of a script
-- if it adds something.)
local nothing = '0-0'

-- Takes an entry out of a group and its stream. An entry that is no longer there was settled by
-- someone else, or this is a repetition: false.
local function take(stream, group, entry)
  return redis.call('XACK', stream, group, entry) + redis.call('XDEL', stream, entry) > 0
end

-- Moves a parked message (a line with what is known of it, then its bytes) to the end of a
-- stream. What is not ours goes too: the consumer then says what is wrong with it.
local function unpark(parked, member, stream)
  redis.call('ZREM', parked, '\n' .. nothing)
  local attempts, received, id, source, message =
    string.match(member, '^(%d+) (%d+) (%S+) ([^\n]*)\n(.*)$')
  if attempts then
    redis.call('XADD', stream, '*', 'message', message, 'attempts', attempts,
      'received_ms', received, 'id', id, 'source', source)
  else
    redis.call('XADD', stream, '*', 'message', member)
  end
  redis.call('ZREM', parked, member)
end
