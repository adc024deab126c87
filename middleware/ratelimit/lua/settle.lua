-- Ends reservations, and gives back those that do not count.
--   KEYS  per reservation: its counter; with flag s also its :pending
--   ARGV  the time or ""; then per reservation: algorithm, requests, window, burst,
--         cost, flags (s and a lease's ID as in check.lua, g give back), mark, mark of the pending

local key = 1
for a = 2, #ARGV, 8 do
  local is, flags = algorithms[ARGV[a]], ARGV[a + 5]
  local l = {
    key = KEYS[key],
    requests = tonumber(ARGV[a + 1]),
    window = tonumber(ARGV[a + 2]),
    burst = tonumber(ARGV[a + 3]),
    cost = tonumber(ARGV[a + 4]),
    lease = string.match(flags, '%d+%.%d+'),
  }
  if string.find(flags, 'g', 1, true) then
    is.look(l)
    if is.give_back(l, tonumber(ARGV[a + 6])) then is.store(l) end
  end
  if string.find(flags, 's', 1, true) then
    key = key + 1
    local p = pending(KEYS[key], l)
    if algorithms.sliding_window.give_back(p, tonumber(ARGV[a + 7])) then
      algorithms.sliding_window.store(p)
    end
  end
  key = key + 1
end
return 1
