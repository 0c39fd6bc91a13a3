-- Takes over entries of a consumer that is still silent, as if they had just been read.
-- KEYS: messages, by which its silence is measured, and the stream whose entries are taken.
-- ARGV: group, consumer, whose, how long that one must be silent (ms), how many.
-- Answers the ids that were asked for; those of entries that are gone are among them.
local key, group, consumer, whose = KEYS[2], ARGV[1], ARGV[2], ARGV[3]
-- One that is not even known there is silent: who lives is heard.
local silent = true
for _, info in ipairs(redis.call('XINFO', 'CONSUMERS', KEYS[1], group)) do
  local c = {}
  for i = 1, #info, 2 do c[info[i]] = info[i + 1] end
  if c.name == whose then silent = c.idle >= tonumber(ARGV[4]) end
end
local ids = {}
if not silent then return ids end
for _, row in ipairs(redis.call('XPENDING', key, group, '-', '+', ARGV[5], whose)) do
  ids[#ids + 1] = row[1]
  -- JUSTID: being taken over is no attempt.
  redis.call('XCLAIM', key, group, consumer, 0, row[1], 'JUSTID')
end
return ids
