-- Parks messages until a time, defers them to the end of a backlog, or appends them to a stream;
-- those that were entries leave their stream in the same moment, if they are still ours. What is
-- parked or deferred is one member: a line with what is known of it, then its bytes.
-- KEYS: parked, messages, again, dead, backlogs, heads, ordered, then backlogs, and keys that remember
-- what was heard. ARGV: group, consumer, time (Unix ms), for how long that is remembered (ms), the
-- channel on which replicas are told of what is new, then for each message: its entry or '', the key
-- whose head it is or '', delay (ms) or RPUSH or LPUSH or ORDERED, which of KEYS is its backlog or '',
-- the name of that, which of KEYS remembers its id and URL (and the next one its bytes) or '', digest
-- of its bytes,
-- attempts, received, id, URL, source, what its last attempt came to or '', bytes.
-- Answers for each that was not moved: its index, and why.
local parked, messages, again, dead, backlogs, heads, ordered = unpack(KEYS, 1, 7)
local group, consumer = ARGV[1], ARGV[2]
local now = tonumber(clock())

local reused = 'another message with this webhookId and url, and other bytes, came within '
  .. '--bridge-dedup; give each message an id of its own'

-- Before the first is moved: all must be what they are taken for.
redis.call('ZCARD', parked)
redis.call('ZCARD', backlogs)
redis.call('XLEN', messages)
local named, is_due = {}, false

local unmoved = {}
local function move(i)
  local held, key, delay, backlog, name, seen, digest, attempts, received, id, url, source, last,
    message = unpack(ARGV, i, i + 13)
  local stream, entry = place(messages, again, held)
  local why = entry ~= '' and lost(stream, group, entry, consumer)
  if why then return why end
  local add
  -- One that was skipped is no head any more.
  local head = key ~= '' and redis.call('HGET', heads, key)
  local is_head = key ~= '' and (not head or head == held)
  if backlog ~= '' or key ~= '' or delay ~= 'ORDERED' and tonumber(delay) > 0 then
    local line = attempts .. ' ' .. received .. ' ' .. id .. ' ' .. source
    if last ~= '' or is_head then line = line .. '\t' .. last end
    if is_head then line = line .. '\t' .. key end
    local member = line .. '\n' .. message
    if backlog ~= '' then
      add = { delay, KEYS[tonumber(backlog)], member }
    else
      -- NX: a repetition changes nothing.
      add = { 'ZADD', parked, 'NX', string.format('%.0f', now + delay), member }
    end
  else
    local stream = delay == 'ORDERED' and ordered or messages
    add = { 'XADD', stream, '*', 'message', message, 'attempts', attempts,
      'received_ms', received, 'id', id, 'source', source }
    if last ~= '' then
      add[#add + 1] = 'last'
      add[#add + 1] = last
    end
  end
  if entry ~= '' then take(stream, group, nothing) end
  local memory = tonumber(seen)
  local known = memory and not redis.call('SET', KEYS[memory], '- ' .. digest, 'NX', 'PX', ARGV[4])
    and heard(KEYS[memory])
  if known then
    if known == digest or redis.call('GET', KEYS[memory + 1]) then return 'copy' end
    -- Each replica hears it: one of them keeps it.
    redis.call('XADD', dead, '*', 'reason', 'id_reused', 'detail', reused, 'id', id, 'url', url,
      'attempts', attempts, 'source', source, 'received_ms', received, 'dead_ms', ARGV[3],
      'message', message)
    redis.call('SET', KEYS[memory + 1], '', 'PX', ARGV[4])
    return 'reused'
  end
  local added = redis.pcall(unpack(add))
  if backlog ~= '' and type(added) == 'table' and added.err
    and string.find(added.err, 'WRONGTYPE', 1, true) then
    -- Something else has the name of this backlog. It must not hold up what waits for others: for a
    -- minute this waits for a time.
    added = redis.pcall('ZADD', parked, 'NX', string.format('%.0f', now + 60000), add[3])
    backlog = ''
  end
  if type(added) == 'table' and added.err then
    -- Not to be taken for one that has come already when it is offered again.
    if memory then redis.call('GETDEL', KEYS[memory]) end
    return added
  end
  if backlog ~= '' and (delay == 'LPUSH' or not named[name]) then
    -- Whoever is not told finds it a little later: that must not fail what was moved.
    local is_new = redis.call('ZADD', backlogs, delay == 'LPUSH' and 'LT' or 'NX', received, name)
    if is_new == 1 then redis.pcall('PUBLISH', ARGV[5], 'backlog ' .. received .. ' ' .. name) end
    named[name] = true
  end
  -- Whoever parks what is due is about to leave: others are to take it.
  is_due = is_due or key ~= '' and backlog == '' and tonumber(delay) <= 0
  if is_head then
    local where = backlog ~= '' and 'backlog ' or 'parked '
    redis.call('HSET', heads, key, where .. received .. ' ' .. id)
  end
  if entry ~= '' then take(stream, group, entry) end
end

for i = 6, #ARGV, 14 do
  local why = move(i)
  if type(why) == 'table' then return why end
  if why then
    unmoved[#unmoved + 1] = (i - 6) / 14
    unmoved[#unmoved + 1] = why
  end
end
if is_due then redis.pcall('PUBLISH', ARGV[5], 'due') end
return unmoved
