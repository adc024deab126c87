-- The twin of sliding_log.go: a list of instants, oldest first.
local sliding_log = {}
algorithms.sliding_log = sliding_log

-- push logs an instant n times.
local function push(key, instant, n)
  while n > 0 do
    local batch = {}
    for i = 1, math.min(n, 1000) do batch[i] = instant end
    redis.call('RPUSH', key, unpack(batch))
    n = n - #batch
  end
end

-- earlier moves all instants of a log that lies too far ahead, so that the newest is now.
local function earlier(l)
  local all, by = redis.call('LRANGE', l.key, 0, -1), l.newest - now
  redis.call('DEL', l.key)
  for _, instant in ipairs(all) do
    redis.call('RPUSH', l.key, string.format('%.0f', math.max(0, tonumber(instant) - by)))
  end
  l.newest = now
  redis.call('PEXPIRE', l.key, expiry(now + l.window))
end

function sliding_log.look(l)
  local n = redis.call('LLEN', l.key)
  l.at, l.gone, l.n = now, 0, n
  if n == 0 then return end
  l.newest = tonumber(redis.call('LINDEX', l.key, -1))
  if far(l, l.newest) then earlier(l) end
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
  if l.gone > 0 then
    redis.call('LTRIM', l.key, l.gone, -1)
    l.gone = 0
  end
  redis.call('LREM', l.key, -l.cost, string.format('%.0f', mark))
  l.newest = redis.call('LINDEX', l.key, -1)
  return true
end

function sliding_log.store(l)
  if l.add then
    if l.gone > 0 then redis.call('LTRIM', l.key, l.gone, -1) end
    push(l.key, string.format('%.0f', l.at), l.add)
  end
  if l.newest then redis.call('PEXPIRE', l.key, expiry(l.newest + l.window)) end
end

function sliding_log.charge(l, mark)
  if mark <= l.at - l.window then return false end
  local later, found, last = {}, false, -1
  repeat
    local chunk = redis.call('LRANGE', l.key, last - 63, last)
    last = last - #chunk
    for i = #chunk, 1, -1 do
      if tonumber(chunk[i]) <= mark then
        found, last = tonumber(chunk[i]) == mark, nil
        break
      end
      later[#later + 1] = chunk[i]
    end
  until not last or #chunk == 0
  if not found then return false end
  redis.call('LTRIM', l.key, l.gone, -(#later + 1))
  push(l.key, string.format('%.0f', mark), math.min(l.cost, l.requests))
  for i = #later, 1, -1 do redis.call('RPUSH', l.key, later[i]) end
  redis.call('LTRIM', l.key, -l.requests, -1)
  l.gone, l.newest = 0, redis.call('LINDEX', l.key, -1)
  return true
end
