-- The twin of concurrent.go: a sorted set of leases, by the instant at which they end.
local concurrent = {}
algorithms.concurrent = concurrent

local function instant(us) return string.format('%.0f', us) end

function concurrent.look(l)
  l.n = redis.call('ZCOUNT', l.key, '(' .. instant(now), '+inf')
end

-- Where it is full, leases that end more than their length ahead, as after the clock was set
-- back, last that long from now: otherwise those of an instance that was killed would stay.
function concurrent.fits(l, cost)
  if l.n + cost <= l.requests then return true end
  local ends = instant(now + l.window)
  for _, lease in ipairs(redis.call('ZRANGEBYSCORE', l.key, '(' .. ends, '+inf')) do
    redis.call('ZADD', l.key, ends, lease)
  end
  return false
end

function concurrent.admit(l)
  l.n = l.n + l.cost
  return 0
end

function concurrent.admits() return now + 1000000 end

function concurrent.left(l) return math.max(0, l.requests - l.n), now end

function concurrent.give_back(l)
  redis.call('ZREM', l.key, l.lease)
  return false
end

function concurrent.store(l)
  redis.call('ZREMRANGEBYSCORE', l.key, '-inf', instant(now))
  redis.call('ZADD', l.key, instant(now + l.window), l.lease)
  redis.call('PEXPIRE', l.key, expiry(now + l.window))
end

function concurrent.charge() return false end
