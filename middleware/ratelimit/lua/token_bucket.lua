-- The twin of token_bucket.go.
local token_bucket = {}
algorithms.token_bucket = token_bucket

local function refill(l, tokens)
  if tokens <= 0 then return 0 end
  local wait = muldiv(tokens, l.window, l.requests - 1 - l.fraction, l.requests)
  return wait
end

function token_bucket.look(l)
  local updated, spent, fraction = load(l.key)
  l.spent, l.fraction = spent, fraction
  if far(l, updated) then
    updated = now
    save(l.key, now, spent, fraction, now + refill(l, spent))
  end
  local at = math.max(now, updated)
  l.at = at
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

function token_bucket.left(l) return math.max(0, l.burst - l.spent), l.at + refill(l, l.spent) end

function token_bucket.give_back(l)
  if l.spent == 0 then return false end
  l.spent = l.spent - l.cost
  if l.spent <= 0 then l.spent, l.fraction = 0, 0 end
  return true
end

function token_bucket.store(l)
  save(l.key, l.at, l.spent, l.fraction, l.at + refill(l, l.spent))
end

function token_bucket.charge(l)
  local most = muldiv(l.requests, 366 * 24 * 3600 * 1000000, 0, l.window)
  l.spent = math.max(l.spent, math.min(l.spent + l.cost, most, max_charged))
  return true
end
