-- The twin of fixed_window.go.
local fixed_window = {}
algorithms.fixed_window = fixed_window

function fixed_window.look(l)
  local start, used = load(l.key)
  if far(l, start) then
    start = now
    save(l.key, start, used, 0, start + l.window)
  end
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
  return math.max(0, l.requests - l.used), l.start + l.window
end

function fixed_window.give_back(l, mark)
  if l.start ~= mark then return false end
  l.used = math.max(0, l.used - l.cost)
  return true
end

function fixed_window.store(l) save(l.key, l.start, l.used, 0, l.start + l.window) end

function fixed_window.charge(l, mark)
  if l.start ~= mark or l.used == 0 then return false end
  l.used = math.min(l.used + l.cost, max_charged)
  return true
end
