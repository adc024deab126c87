-- The twin of sliding_window.go. Limits of up to 32 requests are counted by
-- sliding_log.lua instead.
local sliding_window = {}
algorithms.sliding_window = sliding_window

function sliding_window.look(l)
  local start, current, previous = load(l.key)
  if far(l, start) then
    start = now
    save(l.key, start, current, previous, start + 2 * l.window)
  end
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
  local carried = muldiv(l.previous, l.start + l.window - l.at, 0, l.window)
  return carried + l.current
end

function sliding_window.fits(l, cost) return estimate(l) + cost <= l.requests end

function sliding_window.admit(l)
  l.current = l.current + l.cost
  return l.start
end

local function fades_to(l, previous, free)
  local rest = muldiv(free + 1, l.window, -1, previous)
  return rest
end

function sliding_window.admits(l)
  local finish = l.start + l.window
  local free = l.requests - l.current - l.cost
  if free >= 0 then return finish - fades_to(l, l.previous, free) end
  free = l.requests - l.cost
  if free < l.current then return finish + l.window - fades_to(l, l.current, free) end
  return finish
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

function sliding_window.charge(l, mark)
  if mark == l.start and l.current > 0 then
    l.current = math.min(l.current + l.cost, max_charged)
  elseif mark == l.start - l.window and l.previous > 0 then
    l.previous = math.min(l.previous + l.cost, max_charged)
  else
    return false
  end
  return true
end
