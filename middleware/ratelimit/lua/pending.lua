-- pending counts reservations that are not settled yet, as a sliding window of at
-- most a minute, so that those of an instance that has crashed are forgotten.
local function pending(key, l)
  local p = {key = key, window = math.min(l.window, 60000000), cost = l.cost}
  algorithms.sliding_window.look(p)
  return p
end
