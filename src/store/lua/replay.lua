-- Puts the messages of these dead letters at the end of the stream, as if they had never been
-- tried, those that are still there.
-- KEYS: dead, messages. ARGV: entries of dead. Answers how many were moved.
local time = redis.call('TIME')
local now = string.format('%.0f', time[1] * 1000 + math.floor(time[2] / 1000))
local moved = 0
for _, entry in ipairs(ARGV) do
  local found = redis.call('XRANGE', KEYS[1], entry, entry)[1]
  if found then
    local letter = {}
    for i = 1, #found[2], 2 do letter[found[2][i]] = found[2][i + 1] end
    redis.call('XDEL', KEYS[1], nothing)
    -- It begins anew, and with it the time for which it may wait.
    local fields = { 'message', letter.message or '', 'attempts', '0', 'received_ms', now }
    for _, name in ipairs({ 'id', 'source' }) do
      if letter[name] then
        fields[#fields + 1] = name
        fields[#fields + 1] = letter[name]
      end
    end
    redis.call('XADD', KEYS[2], '*', unpack(fields))
    redis.call('XDEL', KEYS[1], entry)
    moved = moved + 1
  end
end
return moved
