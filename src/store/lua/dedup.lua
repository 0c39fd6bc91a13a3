-- Finds which of these entries of the stream are copies: of the same id, URL and bytes as another
-- that came before, within the time for which that is remembered. Copies leave the stream.
-- KEYS: messages, then for each entry the key that remembers its id and URL.
-- ARGV: group, for how long that is remembered (ms), then for each: entry, digest of its bytes.
-- Answers a word for each: new, copy, or reused (the same id and URL, and other bytes).
local messages, group = KEYS[1], ARGV[1]
-- First, so that a server without memory lets the rest happen too: see `moves.lua`, which stands before this.
take(messages, group, nothing)
local words = {}
for i = 3, #ARGV, 2 do
  local entry, digest, key = ARGV[i], ARGV[i + 1], KEYS[(i + 1) / 2]
  local word = 'new'
  if not redis.call('SET', key, entry .. ' ' .. digest, 'NX', 'PX', ARGV[2]) then
    local known, first = heard(key)
    if known and known ~= digest then
      word = 'reused'
    elseif known and first ~= entry then
      word = 'copy'
      take(messages, group, entry)
    end
  end
  words[#words + 1] = word
end
return words
