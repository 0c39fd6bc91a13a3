-- Makes entries with a key its head. What is not the head of its key leaves the stream, for the list
-- of those that follow.
-- KEYS: heads, messages, again, then for each the list of its key. ARGV: group, consumer, then for
-- each: its entry, the key, and what it is in that list.
-- Answers for each that is not the head: its index, and 'follows' or why it is not ours.
local heads, messages, again = unpack(KEYS, 1, 3)
local group, consumer = ARGV[1], ARGV[2]
local unmoved = {}
for i = 3, #ARGV, 3 do
  local held, key, member = unpack(ARGV, i, i + 2)
  local stream, entry = place(messages, again, held)
  local why = lost(stream, group, entry, consumer)
  if not why then
    local head = redis.call('HGET', heads, key)
    take(stream, group, nothing)
    local queued = head and head ~= held and redis.pcall('RPUSH', KEYS[3 + i / 3], member)
    if type(queued) == 'number' then
      take(stream, group, entry)
      why = 'follows'
    elseif not queued or string.find(queued.err, 'WRONGTYPE', 1, true) then
      -- Or something else has the name of the list: then nobody can follow, and nobody waits.
      redis.call('HSET', heads, key, held)
    else
      return queued
    end
  end
  if why then
    unmoved[#unmoved + 1] = (i - 3) / 3
    unmoved[#unmoved + 1] = why
  end
end
return unmoved
