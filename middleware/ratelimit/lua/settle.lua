-- Ends reservations, and corrects what they have consumed.
--   KEYS  per reservation: its counter; with flag s also its :pending
--   ARGV  the time or ""; then per reservation: algorithm, requests, window, burst,
--         cost, flags (s and a lease's ID as in check.lua), mark, mark of the pending, what is added;
--         less than 0 is given back

local key = 1
for a = 2, #ARGV, 9 do
  local is, flags = algorithms[ARGV[a]], ARGV[a + 5]
  local l = {
    key = KEYS[key],
    requests = tonumber(ARGV[a + 1]),
    window = tonumber(ARGV[a + 2]),
    burst = tonumber(ARGV[a + 3]),
    cost = tonumber(ARGV[a + 4]),
    lease = string.match(flags, '%d+%.%d+'),
  }
  local change, mark, cost = tonumber(ARGV[a + 8]), tonumber(ARGV[a + 6]), l.cost
  if change ~= 0 then
    is.look(l)
    l.cost = math.abs(change)
    local changed
    if change < 0 then changed = is.give_back(l, mark) else changed = is.charge(l, mark) end
    if changed then is.store(l) end
    l.cost = cost
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
