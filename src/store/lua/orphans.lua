-- Gives entries that nobody holds to a consumer: those up to the group's last delivered id that
-- stand between two pending ones. An entry that is settled leaves the pending list and the stream
-- at once, so what is left in the stream alone was lost from the list. Who is given one makes it
-- pending, so no other replica finds it.
-- KEYS: a stream. ARGV: group, consumer, id to go on after, how many pending ones to look at, 'all'
-- if nobody reads the stream, so that what is behind the group's last delivered id is nobody's too.
-- Answers how many were given, and the id to go on after, or '' at the end.
local key, group, consumer, from = KEYS[1], ARGV[1], ARGV[2], ARGV[3]
local count = tonumber(ARGV[4])
local last
for _, info in ipairs(redis.call('XINFO', 'GROUPS', key)) do
  local g = {}
  for i = 1, #info, 2 do g[info[i]] = info[i + 1] end
  if g.name == group then last = g['last-delivered-id'] end
end
if last and ARGV[5] == 'all' then
  local info = redis.call('XINFO', 'STREAM', key)
  for i = 1, #info, 2 do
    if info[i] == 'last-generated-id' then last = info[i + 1] end
  end
end
if not last or last == '0-0' or from == last then return { 0, '' } end

local given = 0
-- Gives what stands after `from` and before `to`. False when that is enough for now.
local function give(to)
  -- Nothing can be asked for beyond the last possible id.
  while from ~= last do
    local entry = redis.call('XRANGE', key, '(' .. from, to, 'COUNT', 1)[1]
    if not entry then return true end
    if given == count then return false end
    from = entry[1]
    -- As if it had just been read, for the first time: its lease begins.
    redis.call('XCLAIM', key, group, consumer, 0, from, 'RETRYCOUNT', 1, 'FORCE', 'JUSTID')
    given = given + 1
  end
  return true
end
local pending = redis.call('XPENDING', key, group, '(' .. from, last, count)
for _, row in ipairs(pending) do
  if not give('(' .. row[1]) then return { given, from } end
  from = row[1]
end
if #pending == count then return { given, from } end
if not give(last) then return { given, from } end
return { given, '' }
