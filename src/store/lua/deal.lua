-- Takes what was added in order, from its beginning: the first of a key becomes its head and is
-- handed to a consumer, the others follow in its list. Another replica may be ahead: then this ends.
-- KEYS: ordered, again, heads, then for each entry the list of its key, and the key that remembers its
-- id and URL. ARGV: group, consumer, for how long that is remembered (ms), then for each: its entry,
-- its key or '', what it is in that list, or '' if it is no message (whoever reads it then says what
-- is wrong with it), and the digest of its bytes, or '' if copies are no matter.
-- Answers the entries that were handed out, how many were taken, how many of these were copies, and
-- which of those handed out have the id and URL of another.
local ordered, again, heads = unpack(KEYS, 1, 3)
local group, consumer = ARGV[1], ARGV[2]
-- Fails without the group, before anything is moved.
redis.call('XPENDING', again, group)
take(again, group, nothing)
local entries, dealt, copies, reused = {}, 0, 0, {}

-- Whether the same message came before: 'copy', or 'reused' if its bytes are others.
local function before(memory, entry, digest)
  if digest == '' then return end
  -- Not an entry of that stream: see lua/dedup.lua.
  local this = 'ordered:' .. entry
  if redis.call('SET', memory, this .. ' ' .. digest, 'NX', 'PX', ARGV[3]) then return end
  local known, first = heard(memory)
  if not known or first == this then return end
  return known == digest and 'copy' or 'reused'
end

for i = 4, #ARGV, 4 do
  local entry, key, member, digest = unpack(ARGV, i, i + 3)
  local list = KEYS[2 + i / 2]
  local first = redis.call('XRANGE', ordered, '-', '+', 'COUNT', 1)[1]
  if not first or first[1] ~= entry then break end
  local word = before(KEYS[3 + i / 2], entry, digest)
  if word == 'copy' then
    copies = copies + 1
  elseif word == 'reused' then
    entries[#entries + 1] = hand(again, group, consumer, heads, '', member)
    reused[#reused + 1] = entries[#entries][1]
  elseif member == '' then
    local fields = first[2]
    -- More would be too many for a call.
    if #fields > 1000 then fields = { 'fields', table.concat(fields, ' ') } end
    entries[#entries + 1] = hold(again, group, consumer, fields)
  elseif key == '' then
    entries[#entries + 1] = hand(again, group, consumer, heads, '', member)
  else
    local queued = redis.call('HGET', heads, key) and redis.pcall('RPUSH', list, member)
    if type(queued) == 'table' then
      if not string.find(queued.err, 'WRONGTYPE', 1, true) then return queued end
      -- Something else has the name of the list: nobody can follow, and nobody waits.
      redis.call('HDEL', heads, key)
      queued = false
    end
    if not queued then
      entries[#entries + 1] = hand(again, group, consumer, heads, '', (marked(member, key)))
    end
  end
  redis.call('XDEL', ordered, entry)
  dealt = dealt + 1
end
return { entries, dealt, copies, reused }
