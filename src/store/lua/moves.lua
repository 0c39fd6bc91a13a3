-- How a message moves: it is added where it goes, and then taken from where it was, as a script
-- that fails is not undone. Taking comes last, so it must not fail: it is tried before, on nothing.
-- (That also makes it no matter that a server without memory refuses the first write of a script
-- if it adds something.)
local nothing = '0-0'

-- Takes an entry out of a group and its stream.
local function take(stream, group, entry)
  redis.call('XACK', stream, group, entry)
  redis.call('XDEL', stream, entry)
end

-- Why an entry is not ours any more: others have taken it over ('taken'), or it is not pending at
-- all ('gone'), as it was settled, or this is a repetition. Nothing while it is ours. Whoever has
-- lost an entry must not touch it: whoever has it now is responsible for it.
local function lost(stream, group, entry, consumer)
  local rows = redis.pcall('XPENDING', stream, group, entry, entry, 1)
  if rows.err then
    -- A group that was deleted holds nothing; the one that is made anew reads all entries again.
    if string.find(rows.err, 'NOGROUP', 1, true) then return 'gone' end
    redis.call('XPENDING', stream, group, entry, entry, 1)
  end
  if not rows[1] then return 'gone' end
  if rows[1][2] ~= consumer then return 'taken' end
end

-- The digest that a key remembers, and the entry that it is of (or -). Nothing of a key that is
-- not ours.
local function heard(key)
  local value = redis.pcall('GET', key)
  if type(value) ~= 'string' then return end
  local entry, digest = string.match(value, '^(%S+) (%S+)$')
  return digest, entry
end

-- Where an entry is, and its id. One that has come back is named with a + before its id.
local function place(messages, again, entry)
  if string.sub(entry, 1, 1) == '+' then return again, string.sub(entry, 2) end
  return messages, entry
end

-- How the message of a member (a line with what is known of it, then its bytes) is added to the end
-- of a stream. What is not ours goes too: the consumer then says what is wrong with it.
local function adding(stream, member)
  local attempts, received, id, source, message =
    string.match(member, '^(%d+) (%d+) (%S+) ([^\n]*)\n(.*)$')
  if not attempts then return { 'XADD', stream, '*', 'message', member } end
  local from, last = string.match(source, '^([^\t]*)\t(.*)$')
  local add = { 'XADD', stream, '*', 'message', message, 'attempts', attempts,
    'received_ms', received, 'id', id, 'source', from or source }
  if last then
    add[#add + 1] = 'last'
    add[#add + 1] = last
  end
  return add
end

-- Makes a member an entry of what has come back, held by a consumer as if it had just read it.
-- Nobody reads that stream: each entry is somebody's from its beginning. Answers it as a read would.
local function hand(again, group, consumer, member)
  local add = adding(again, member)
  local id = redis.call(unpack(add))
  redis.call('XCLAIM', again, group, consumer, 0, id, 'RETRYCOUNT', 1, 'FORCE', 'JUSTID')
  return { id, { unpack(add, 4) } }
end
