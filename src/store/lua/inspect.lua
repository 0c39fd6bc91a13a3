-- What the stream and its group say of themselves, names and values in turn. Changes nothing.
-- KEYS: messages. ARGV: group. Nothing when there is no stream.
local key, group = KEYS[1], ARGV[1]
local function pairs_of(reply)
  local found = {}
  for i = 1, #reply, 2 do found[reply[i]] = reply[i + 1] end
  return found
end
if redis.call('XLEN', key) == 0 and #redis.call('XRANGE', key, '-', '+', 'COUNT', 1) == 0 then
  -- It may be there all the same, empty; XINFO fails when it is not.
  local groups = redis.pcall('XINFO', 'GROUPS', key)
  if groups.err then return {} end
end
local stream = pairs_of(redis.call('XINFO', 'STREAM', key))
local answer = {}
local function say(name, value)
  if value then
    answer[#answer + 1] = name
    answer[#answer + 1] = value
  end
end
say('length', stream['length'])
say('last_generated', stream['last-generated-id'])
say('added', stream['entries-added'])
say('first_entry', stream['first-entry'] and stream['first-entry'][1])
for _, info in ipairs(redis.call('XINFO', 'GROUPS', key)) do
  local g = pairs_of(info)
  if g.name == group then
    local last = g['last-delivered-id']
    say('pending', g.pending)
    say('last_delivered', last)
    say('read', g['entries-read'])
    say('lag', g.lag)
    say('first_pending', redis.call('XPENDING', key, group)[2])
    -- Nothing can be asked for beyond the last possible id.
    local is_end = last == '18446744073709551615-18446744073709551615'
    say('unread', is_end and 0 or #redis.call('XRANGE', key, '(' .. last, '+', 'COUNT', 1))
  else
    say('other_group', g.name)
  end
end
return answer
