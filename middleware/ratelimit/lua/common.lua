-- What all of the limiter's scripts begin with. A script is put together from
-- this file, those of the algorithms that it needs, and check.lua or settle.lua:
-- Redis builds every function anew in each run, so the fewer the better.
--
-- Each algorithm is a table of the functions that the Go file of its name has:
-- look brings the state of a limit l forward to now, fits, admit, admits, left,
-- give_back and charge work on that, store writes it. Property tests hold the two
-- together.
--
-- All numbers are integers below 2^53, where doubles are exact. Nothing is
-- written without an expiry, and stored time never runs backwards: a state from
-- the future is taken as of its own time, up to a window ahead; see far.

local algorithms = {}

-- What charge makes of a count at most: maxCharged in algorithms.go.
local max_charged = 2^34

-- The time in microseconds: Redis' own, but in tests. Keys expire by Redis' own
-- in any case, so that under a test's clock they get a minute more.
local now, linger = tonumber(ARGV[1]), 60000
if not now then
  linger = 0
  local t = redis.call('TIME')
  now = t[1] * 1000000 + t[2]
end

-- muldiv is floor((a*b + add) / c), and the remainder, for a below 2^35, b and
-- c below 2^45: where the product is too wide for a double, a is worked off in
-- digits of 7 bits, as in long division on paper.
local function muldiv(a, b, add, c)
  local product = a * b
  if product < 2^52 then
    local r = math.fmod(product + add, c)
    if r < 0 then r = r + c end
    return (product + add - r) / c, r
  end
  local quotient, rest = 0, 0
  for shift = 28, 0, -7 do
    local digit = math.floor(a / 2^shift)
    a = a - digit * 2^shift
    local part = rest * 128 + digit * b
    rest = math.fmod(part, c)
    quotient = quotient * 128 + (part - rest) / c
  end
  local r = math.fmod(rest + add, c)
  if r < 0 then r = r + c end
  return quotient + (rest + add - r) / c, r
end

-- load reads three integers, zeros if there are none.
local function load(key)
  local text = redis.call('GET', key)
  if not text then return 0, 0, 0 end
  local a, b, c = string.match(text, '^(%d+) (%d+) (%d+)$')
  if not a then return 0, 0, 0 end
  return tonumber(a), tonumber(b), tonumber(c)
end

-- expiry turns an instant into milliseconds from now: rounded up, and one more, as
-- Redis counts them from the start of the present one.
local function expiry(instant)
  return string.format('%.0f', math.max(1, math.ceil((instant - now) / 1000) + 1) + linger)
end

-- far says that a state lies more than a window ahead of now: it was written under a clock
-- that has been set back since, and counts from now. look then stores it, since it would
-- otherwise count from each later now again.
local function far(l, instant) return instant - now > l.window end

local function save(key, a, b, c, instant)
  redis.call('SET', key, string.format('%.0f %.0f %.0f', a, b, c), 'PX', expiry(instant))
end
