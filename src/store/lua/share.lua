-- Lends a replica its part of limits that hold for all replicas together, one endpoint a key.
--
-- Attempts at a time are lent until a time, and lent anew as long as the replica asks. Each claimant
-- is entitled to an equal part; what others do not want is lent as well. Nothing that is lent is
-- taken back: a replica that has more than it should is told so (goal), and asks for less.
-- Beginnings of attempts have their places in time, one after each other. A replica gets the next
-- few, and nobody gets these again. (src/limits/book.rs is the same in Rust, for the model.)
--
-- KEYS: shares. ARGV: replica, how long a loan lasts (ms), how long the beginnings of one slice last,
-- and how far ahead they are given (us); then for each key: limit, held, wanted, time between two
-- beginnings (us, 0: no rate), beginnings wanted.
-- Answers for each key: held, goal, claimants, beginnings, time until the first, or until it is
-- worth asking again (us).
local me, lasts = 'r:' .. ARGV[1], tonumber(ARGV[2])
local slice, ahead = tonumber(ARGV[3]), tonumber(ARGV[4])
-- The rank that comes first moves on so often, where not every claimant can have one.
local rotation = 1000
local time = redis.call('TIME')
local now = time[1] * 1000000 + time[2]
local now_ms = math.floor(now / 1000)

-- What is lent, by field, and the next place in time. Loans that are over are dropped.
local function read(key)
  local loans, next_place = {}, 0
  local all = redis.call('HGETALL', key)
  for i = 1, #all, 2 do
    local field, value = all[i], all[i + 1]
    local held, wanted, ends = string.match(value, '^(%d+) (%d+) (%d+)$')
    if field == 'next' then
      next_place = tonumber(value) or 0
    elseif ends and tonumber(ends) > now_ms then
      loans[field] = { held = tonumber(held), wanted = tonumber(wanted) }
    else
      redis.call('HDEL', key, field)
    end
  end
  return loans, next_place
end

-- What the claimant of this rank is entitled to, where nobody wants less.
local function part(limit, claimants, rank)
  local base = math.floor(limit / claimants)
  local turn = base == 0 and math.floor(now_ms / rotation) or 0
  local extra = (rank + turn) % claimants < limit - base * claimants
  return base + (extra and 1 or 0)
end

-- Answers what is lent to us, and what we should come down to.
local function lend_attempts(loans, limit, held, wanted)
  local names = { me }
  for name in pairs(loans) do
    if name ~= me then names[#names + 1] = name end
  end
  table.sort(names)
  local free, lacking, own = limit, 0, 0
  for rank, name in ipairs(names) do
    local entitled = part(limit, #names, rank - 1)
    if name == me then
      own = entitled
    else
      local loan = loans[name]
      free = free - loan.held
      lacking = lacking + math.max(0, math.min(entitled, loan.wanted) - loan.held)
    end
  end
  -- A loan that is over, or was forgotten, may have been lent to others since; and what others held
  -- may be forgotten too: nothing is added to it.
  local known = loans[me] or held == 0
  if not known then held = math.min(held, math.max(0, free)) end
  free = free - held
  local function grow(most)
    local more = math.max(0, math.min(wanted - held, most))
    held, free = held + more, free - more
  end
  if known then
    grow(math.min(own - held, free))
    grow(free - lacking)
  end
  local goal = held
  if lacking > free and held > own then goal = math.max(own, held - (lacking - free)) end
  return held, goal, #names
end

-- Answers how many beginnings are ours, and the time until the first.
local function lend_starts(next_place, claimants, pace, wanted)
  -- It is never later than that, unless the clock was set back.
  local first = math.max(now, math.min(next_place, now + ahead + pace))
  local fit = math.floor((now + ahead - first) / pace) + 1
  local fair = math.max(1, math.floor(slice / (pace * claimants)))
  return math.max(0, math.min(wanted, fit, fair)), first
end

local answers = {}
for i, key in ipairs(KEYS) do
  local a = 4 + (i - 1) * 5
  local limit, held, wanted = tonumber(ARGV[a + 1]), tonumber(ARGV[a + 2]), tonumber(ARGV[a + 3])
  local pace, starts = tonumber(ARGV[a + 4]), tonumber(ARGV[a + 5])
  local loans, next_place = read(key)
  if held + wanted + starts == 0 then
    redis.call('HDEL', key, me)
    answers[i] = { 0, 0, 1, 0, 0 }
  else
    local goal, claimants, count, wait = 0, 0, 0, 0
    held, goal, claimants = lend_attempts(loans, limit, held, wanted)
    if pace > 0 and starts > 0 then
      local first
      count, first = lend_starts(next_place, claimants, pace, starts)
      wait = count > 0 and first - now or math.max(20000, first - now - ahead)
      next_place = first + count * pace
      redis.call('HSET', key, 'next', string.format('%.3f', next_place))
    end
    redis.call('HSET', key, me, string.format('%d %d %.0f', held, wanted, now_ms + lasts))
    local kept = math.max(lasts, math.ceil((next_place - now) / 1000))
    redis.call('PEXPIRE', key, string.format('%.0f', kept))
    answers[i] = { held, goal, claimants, count, math.floor(wait) }
  end
end
return answers
