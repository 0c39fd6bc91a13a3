-- Deletes consumers that hold nothing: one by name, or all that have been silent for long.
-- Deleting one that holds entries would throw them away.
-- KEYS: messages. ARGV: group, name or '', idle time (ms).
for _, info in ipairs(redis.call('XINFO', 'CONSUMERS', KEYS[1], ARGV[1])) do
  local c = {}
  for i = 1, #info, 2 do c[info[i]] = info[i + 1] end
  local old = ARGV[2] == '' and c.idle > tonumber(ARGV[3]) or c.name == ARGV[2]
  if old and c.pending == 0 then
    redis.call('XGROUP', 'DELCONSUMER', KEYS[1], ARGV[1], c.name)
  end
end
