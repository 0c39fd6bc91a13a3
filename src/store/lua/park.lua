-- Parks messages until a time, defers them to the end of a backlog, or appends them to the stream;
-- those that were entries leave their stream in the same moment, if they are still ours. What is
-- parked or deferred is one member: a line with what is known of it, then its bytes.
-- KEYS: parked, messages, again, dead, backlogs, then backlogs, and keys that remember what was
-- heard. ARGV: group, consumer, time (Unix ms), for how long that is remembered (ms), the channel on
-- which replicas are told of backlogs that are new, then for each message: its entry or '', delay (ms) or RPUSH or LPUSH, which of KEYS is its backlog or '', the name of that, which
-- of KEYS remembers its id and URL (and the next one its bytes) or '', digest of its bytes,
-- attempts, received, id, URL, source, what its last attempt came to or '', bytes.
-- Answers for each that was not moved: its index, and why.
local parked, messages, again, dead, backlogs = unpack(KEYS, 1, 5)
local group, consumer = ARGV[1], ARGV[2]
local time = redis.call('TIME')
local now = time[1] * 1000 + math.floor(time[2] / 1000)

local reused = 'another message with this webhookId and url, and other bytes, came within '
  .. '--bridge-dedup; give each message an id of its own'

-- Before the first is moved: all must be what they are taken for.
redis.call('ZCARD', parked)
redis.call('ZCARD', backlogs)
redis.call('XLEN', messages)
local named = {}

local unmoved = {}
local function move(i)
  local held, delay, backlog, name, seen, digest, attempts, received, id, url, source, last, message =
    unpack(ARGV, i, i + 12)
  local stream, entry = place(messages, again, held)
  local why = entry ~= '' and lost(stream, group, entry, consumer)
  if why then return why end
  local add
  if backlog ~= '' or tonumber(delay) > 0 then
    local line = attempts .. ' ' .. received .. ' ' .. id .. ' ' .. source
    if last ~= '' then line = line .. '\t' .. last end
    local member = line .. '\n' .. message
    if backlog ~= '' then
      add = { delay, KEYS[tonumber(backlog)], member }
    else
      -- NX: a repetition changes nothing.
      add = { 'ZADD', parked, 'NX', string.format('%.0f', now + delay), member }
    end
  else
    add = { 'XADD', messages, '*', 'message', message, 'attempts', attempts,
      'received_ms', received, 'id', id, 'source', source }
    if last ~= '' then
      add[#add + 1] = 'last'
      add[#add + 1] = last
    end
  end
  if entry ~= '' then take(stream, group, nothing) end
  local key = tonumber(seen)
  local known = key and not redis.call('SET', KEYS[key], '- ' .. digest, 'NX', 'PX', ARGV[4])
    and heard(KEYS[key])
  if known then
    if known == digest or redis.call('GET', KEYS[key + 1]) then return 'copy' end
    -- Each replica hears it: one of them keeps it.
    redis.call('XADD', dead, '*', 'reason', 'id_reused', 'detail', reused, 'id', id, 'url', url,
      'attempts', attempts, 'source', source, 'received_ms', received, 'dead_ms', ARGV[3],
      'message', message)
    redis.call('SET', KEYS[key + 1], '', 'PX', ARGV[4])
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
    if key then redis.call('GETDEL', KEYS[key]) end
    return added
  end
  if backlog ~= '' and (delay == 'LPUSH' or not named[name]) then
    -- Whoever is not told finds it a little later: that must not fail what was moved.
    local is_new = redis.call('ZADD', backlogs, delay == 'LPUSH' and 'LT' or 'NX', received, name)
    if is_new == 1 then redis.pcall('PUBLISH', ARGV[5], 'backlog ' .. received .. ' ' .. name) end
    named[name] = true
  end
  if entry ~= '' then take(stream, group, entry) end
end

for i = 6, #ARGV, 13 do
  local why = move(i)
  if type(why) == 'table' then return why end
  if why then
    unmoved[#unmoved + 1] = (i - 6) / 13
    unmoved[#unmoved + 1] = why
  end
end
return unmoved
