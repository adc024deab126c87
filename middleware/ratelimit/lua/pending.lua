-- pending counts what is reserved and not yet answered, as a sliding window of at
-- most a minute, so that reservations of a gateway that died are forgotten.
local function pending(key, l)
  local p = {key = key, window = math.min(l.window, 60000000), cost = l.cost}
  algorithms.sliding_window.look(p)
  return p
end
