-- Parks the messages of these dead letters as if they had never been tried, due now, those that are
-- still there.
-- KEYS: dead, parked. ARGV: entries of dead. Answers how many were moved.
local time = redis.call('TIME')
local now = string.format('%.0f', time[1] * 1000 + math.floor(time[2] / 1000))
local moved = 0
for _, entry in ipairs(ARGV) do
  local found = redis.call('XRANGE', KEYS[1], entry, entry)[1]
  if found then
    local letter = {}
    for i = 1, #found[2], 2 do letter[found[2][i]] = found[2][i + 1] end
    redis.call('XDEL', KEYS[1], nothing)
    local member = letter.message or ''
    local id, source = letter.id or '', letter.source or ''
    -- A line of what is known of it, if that is a line. It begins anew, and with it the time for
    -- which it may wait.
    if string.find(id, '^%S+$') and not string.find(source, '[%c]') then
      -- Of those that are due at the same time the first to be received goes first.
      local rest, received = ' ' .. id .. ' ' .. source .. '\n' .. member, now + moved
      repeat
        -- Another that is the same is another all the same.
        member = '0 ' .. string.format('%.0f', received) .. rest
        received = received + 1
      until not redis.call('ZSCORE', KEYS[2], member)
    end
    redis.call('ZADD', KEYS[2], now, member)
    redis.call('XDEL', KEYS[1], entry)
    moved = moved + 1
  end
end
return moved
