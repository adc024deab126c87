-- The limiter's counters in Redis. Each algorithm here mirrors the Go file of
-- its name, function by function; property tests hold the two together. Numbers
-- are integers below 2^53 throughout, where doubles are exact.
--
-- take and peek decide a request under several limits, all or nothing:
--   KEYS  per limit: its counter; with flag s also :pending, with flag b also :ban
--   ARGV  "take" or "peek"; the time in microseconds, empty for Redis' own; then
--         per limit: algorithm, requests, window, burst, cost, flags
--         flags: d dry run, s settled once the answer is known, b has a ban
--   reply 1 if all admit, else 0; then per limit:
--         status (0 denied, 1 admitted, 2 denied, but for unsettled requests, 3 banned),
--         remaining, microseconds until the reset, until admitted, mark, mark of the pending
--
-- settle undoes admissions, or merely notes that they were answered:
--   KEYS  per admission: its counter; with flag s also :pending
--   ARGV  "settle"; the time; then per admission: algorithm, requests, window,
--         burst, cost, flags (s as above, g give back), mark, mark of the pending
--
-- Nothing is written unless all admit, every write sets an expiry, and stored time
-- never runs backwards: a state from the future is taken as of its own time.

local mode, now = ARGV[1], tonumber(ARGV[2])
if not now then
  local t = redis.call('TIME')
  now = t[1] * 1000000 + t[2]
end

-- muldiv is floor((a*b + add) / c), and the remainder, for a below 2^35, b and c below
-- 2^45: where the product is too wide for a double, a is worked off in digits of
-- 7 bits, as in long division on paper.
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
  return string.format('%.0f', math.max(1, math.ceil((instant - now) / 1000) + 1))
end

local function save(key, a, b, c, instant)
  redis.call('SET', key, string.format('%.0f %.0f %.0f', a, b, c), 'PX', expiry(instant))
end

local fixed_window = {}

function fixed_window.look(l)
  local start, used = load(l.key)
  local at = math.max(now, start)
  if used == 0 or at - start >= l.window then start, used = at, 0 end
  l.start, l.used = start, used
end

function fixed_window.fits(l, cost) return l.used + cost <= l.requests end

function fixed_window.admit(l)
  l.used = l.used + l.cost
  return l.start
end

function fixed_window.admits(l) return l.start + l.window end

function fixed_window.left(l)
  if l.used == 0 then return l.requests, l.start end
  return l.requests - l.used, l.start + l.window
end

function fixed_window.give_back(l, mark)
  if l.start ~= mark then return false end
  l.used = math.max(0, l.used - l.cost)
  return true
end

function fixed_window.store(l) save(l.key, l.start, l.used, 0, l.start + l.window) end

local sliding_window = {}

function sliding_window.look(l)
  local start, current, previous = load(l.key)
  local at = math.max(now, start)
  local elapsed = at - start
  if elapsed >= 2 * l.window or current + previous == 0 then
    start, current, previous = at, 0, 0
  elseif elapsed >= l.window then
    start, current, previous = start + l.window, 0, current
  end
  l.start, l.current, l.previous, l.at = start, current, previous, at
end

local function estimate(l)
  local carried = muldiv(l.previous, l.start + l.window - l.at, l.window - 1, l.window)
  return carried + l.current
end

function sliding_window.fits(l, cost) return estimate(l) + cost <= l.requests end

function sliding_window.admit(l)
  l.current = l.current + l.cost
  return l.start
end

function sliding_window.admits(l)
  local finish = l.start + l.window
  local free = l.requests - l.current - l.cost
  if free >= 0 then
    local weight = muldiv(free, l.window, 0, l.previous)
    return finish - weight
  end
  if l.requests - l.cost >= l.current then return finish end
  local weight = muldiv(l.requests - l.cost, l.window, 0, l.current)
  return finish + l.window - weight
end

function sliding_window.left(l)
  if l.current + l.previous == 0 then return l.requests, l.at end
  return math.max(0, l.requests - estimate(l)), l.start + l.window
end

function sliding_window.give_back(l, mark)
  if mark == l.start then
    l.current = math.max(0, l.current - l.cost)
  elseif mark == l.start - l.window then
    l.previous = math.max(0, l.previous - l.cost)
  else
    return false
  end
  return true
end

function sliding_window.store(l)
  save(l.key, l.start, l.current, l.previous, l.start + 2 * l.window)
end

local token_bucket = {}

local function refill(l, tokens)
  if tokens <= 0 then return 0 end
  local wait = muldiv(tokens, l.window, l.requests - 1 - l.fraction, l.requests)
  return wait
end

function token_bucket.look(l)
  local updated, spent, fraction = load(l.key)
  local at = math.max(now, updated)
  l.at, l.spent, l.fraction = at, spent, fraction
  local elapsed = at - updated
  if elapsed >= refill(l, spent) then
    l.spent, l.fraction = 0, 0
  else
    local tokens
    tokens, l.fraction = muldiv(l.requests, elapsed, fraction, l.window)
    l.spent = spent - tokens
  end
end

function token_bucket.fits(l, cost) return l.spent + cost <= l.burst end

function token_bucket.admit(l)
  l.spent = l.spent + l.cost
  return l.at
end

function token_bucket.admits(l) return l.at + refill(l, l.spent + l.cost - l.burst) end

function token_bucket.left(l) return l.burst - l.spent, l.at + refill(l, l.spent) end

function token_bucket.give_back(l)
  if l.spent == 0 then return false end
  l.spent = l.spent - l.cost
  if l.spent <= 0 then l.spent, l.fraction = 0, 0 end
  return true
end

function token_bucket.store(l)
  save(l.key, l.at, l.spent, l.fraction, l.at + refill(l, l.spent))
end

-- sliding_log keeps a list of instants, oldest first.
local sliding_log = {}

function sliding_log.look(l)
  local n = redis.call('LLEN', l.key)
  l.at, l.gone, l.n = now, 0, n
  if n == 0 then return end
  l.newest = tonumber(redis.call('LINDEX', l.key, -1))
  l.at = math.max(now, l.newest)
  local horizon = l.at - l.window
  if l.newest <= horizon then
    l.gone, l.n = n, 0
    return
  end
  while true do -- ends at the latest at the newest, which is within the window
    for _, instant in ipairs(redis.call('LRANGE', l.key, l.gone, l.gone + 63)) do
      if tonumber(instant) > horizon then
        l.n = n - l.gone
        return
      end
      l.gone = l.gone + 1
    end
  end
end

function sliding_log.fits(l, cost) return l.n + cost <= l.requests end

function sliding_log.admit(l)
  l.n, l.add, l.newest = l.n + l.cost, l.cost, l.at
  return l.at
end

function sliding_log.admits(l)
  local too_many = l.n + l.cost - l.requests
  return tonumber(redis.call('LINDEX', l.key, l.gone + too_many - 1)) + l.window
end

function sliding_log.left(l)
  if l.n == 0 then return l.requests, l.at end
  return l.requests - l.n, l.newest + l.window
end

function sliding_log.give_back(l, mark)
  redis.call('LREM', l.key, -l.cost, string.format('%.0f', mark))
  l.newest = redis.call('LINDEX', l.key, -1)
  return true
end

function sliding_log.store(l)
  if l.add then
    if l.gone > 0 then redis.call('LTRIM', l.key, l.gone, -1) end
    local instant, add = string.format('%.0f', l.at), l.add
    while add > 0 do
      local batch = {}
      for i = 1, math.min(add, 1000) do batch[i] = instant end
      redis.call('RPUSH', l.key, unpack(batch))
      add = add - #batch
    end
  end
  if l.newest then redis.call('PEXPIRE', l.key, expiry(l.newest + l.window)) end
end

local algorithms = {
  fixed_window = fixed_window,
  sliding_window = sliding_window,
  sliding_log = sliding_log,
  token_bucket = token_bucket,
}

-- pending counts what is reserved and not yet answered, in windows of at most
-- a minute, so that reservations of a gateway that died are forgotten.
local function pending(key, l)
  local p = {key = key, window = math.min(l.window, 60000000), cost = l.cost}
  sliding_window.look(p)
  return p
end

-- parse reads the limits, and loads their counters.
local function parse(width)
  local limits, k = {}, 1
  for a = 3, #ARGV, width do
    local flags = ARGV[a + 5]
    local l = {
      key = KEYS[k],
      requests = tonumber(ARGV[a + 1]),
      window = tonumber(ARGV[a + 2]),
      burst = tonumber(ARGV[a + 3]),
      cost = tonumber(ARGV[a + 4]),
      dry = string.find(flags, 'd', 1, true),
      back = string.find(flags, 'g', 1, true),
      mark = tonumber(ARGV[a + 6]),
      pending_mark = tonumber(ARGV[a + 7]),
    }
    l.is = algorithms[ARGV[a]]
    l.is.look(l)
    if string.find(flags, 's', 1, true) then
      k = k + 1
      l.pending = pending(KEYS[k], l)
    end
    if string.find(flags, 'b', 1, true) then
      k = k + 1
      l.ban = redis.call('PTTL', KEYS[k])
    end
    k = k + 1
    limits[#limits + 1] = l
  end
  return limits
end

if mode == 'settle' then
  for _, l in ipairs(parse(8)) do
    if l.back and l.is.give_back(l, l.mark) then l.is.store(l) end
    if l.pending and sliding_window.give_back(l.pending, l.pending_mark) then
      sliding_window.store(l.pending)
    end
  end
  return 1
end

local limits, admitted = parse(6), 1
for _, l in ipairs(limits) do
  if l.ban and l.ban > 0 then
    l.status = 3
  elseif l.is.fits(l, l.cost) then
    l.status = 1
  elseif l.pending and l.is.fits(l, l.cost - l.pending.current - l.pending.previous) then
    l.status = 2
  else
    l.status = 0
  end
  if l.status ~= 1 and not l.dry then admitted = 0 end
end

local reply = {admitted}
for _, l in ipairs(limits) do
  local mark, pending_mark, wait = 0, 0, 0
  if l.status == 3 then
    wait = l.ban * 1000
  elseif l.status ~= 1 then
    wait = l.is.admits(l) - now
  elseif admitted == 1 and mode == 'take' then
    mark = l.is.admit(l)
    l.is.store(l)
    if l.pending then
      pending_mark = sliding_window.admit(l.pending)
      sliding_window.store(l.pending)
    end
  end
  local remaining, reset = l.is.left(l)
  local n = #reply
  reply[n + 1], reply[n + 2], reply[n + 3] = l.status, remaining, math.max(0, reset - now)
  reply[n + 4], reply[n + 5], reply[n + 6] = wait, mark, pending_mark
end
return reply
