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

-- The time (Unix ms), as a score.
local function clock()
  local time = redis.call('TIME')
  return string.format('%.0f', time[1] * 1000 + math.floor(time[2] / 1000))
end

-- What a member says: a line with what is known of it, then its bytes. Behind the source, with a
-- tab before each, may stand what its last attempt came to, and the key whose head it is.
local function read(member)
  local attempts, received, id, source, message =
    string.match(member, '^(%d+) (%d+) (%S+) ([^\n]*)\n(.*)$')
  if not attempts then return end
  local from, rest = string.match(source, '^([^\t]*)\t?(.*)$')
  local last, key = string.match(rest, '^([^\t]*)\t?(.*)$')
  return attempts, received, id, from, last, key, message
end

-- The same member as the head of a key, and what tells it from others of that key.
local function marked(member, key)
  local attempts, received, id, from, last, _, message = read(member)
  if not attempts then return member end
  local line = attempts .. ' ' .. received .. ' ' .. id .. ' ' .. from
  return line .. '\t' .. last .. '\t' .. key .. '\n' .. message, received .. ' ' .. id
end

-- Lets the next of a key go, as its head is settled, if that is still where it was. The next is
-- parked and due: whoever brings back what is due takes it. Answers how many that are.
local function promote(heads, parked, list, key, head)
  if redis.call('HGET', heads, key) ~= head then return 0 end
  local member = redis.pcall('LINDEX', list, 0)
  -- Something else has the name of this list: nobody follows.
  if type(member) == 'table' then member = nil end
  while member do
    local new, which = marked(member, key)
    redis.call('ZADD', parked, clock(), new)
    if which then redis.call('HSET', heads, key, 'parked ' .. which) end
    redis.call('LPOP', list)
    if which then return 1 end
    -- It is not ours, and nobody waits for it.
    member = redis.call('LINDEX', list, 0)
  end
  redis.call('HDEL', heads, key)
  return 0
end

-- Adds an entry to what has come back, held by a consumer as if it had just read it. Nobody reads
-- that stream: each entry is somebody's from its beginning. Answers it as a read would.
local function hold(again, group, consumer, fields)
  local id = redis.call('XADD', again, '*', unpack(fields))
  redis.call('XCLAIM', again, group, consumer, 0, id, 'RETRYCOUNT', 1, 'FORCE', 'JUSTID')
  return { id, fields }
end

-- Makes such an entry of a member that is `where`. The head of a key stays that, unless it was
-- skipped: then it stands behind the others, like one that is new. What is not ours goes too: the
-- consumer then says what is wrong with it.
local function hand(again, group, consumer, heads, where, member)
  local attempts, received, id, from, last, key, message = read(member)
  if not attempts then return hold(again, group, consumer, { 'message', member }) end
  local fields = { 'message', message, 'attempts', attempts, 'received_ms', received, 'id', id,
    'source', from }
  if last ~= '' then
    fields[#fields + 1] = 'last'
    fields[#fields + 1] = last
  end
  local head = key ~= '' and redis.call('HGET', heads, key)
  local is_head = key ~= '' and (not head or head == where .. ' ' .. received .. ' ' .. id)
  if is_head then
    fields[#fields + 1] = 'head'
    fields[#fields + 1] = key
  end
  local entry = hold(again, group, consumer, fields)
  if is_head then redis.call('HSET', heads, key, '+' .. entry[1]) end
  return entry
end
