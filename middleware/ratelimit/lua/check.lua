-- Decides a request under several limits, all or nothing.
--   KEYS  per limit: its counter; with flag s also its :pending, with flag b also its :ban
--   ARGV  the time or ""; "take" or "peek"; then per limit:
--         algorithm, requests, window, burst, cost, flags
--         flags: d dry run, s settled by the response, b has a ban; behind them the ID of
--         the request's lease, digits and a dot, where the algorithm has leases
--   reply 1 if all admit, else 0; then per limit:
--         status (0 denied, 1 admitted, 2 denied, but for unsettled requests, 3 banned), remaining,
--         microseconds until the reset, until admitted, mark, mark of the pending

local limits, key, admitted = {}, 1, 1
for a = 3, #ARGV, 6 do
  local l = {
    is = algorithms[ARGV[a]],
    key = KEYS[key],
    requests = tonumber(ARGV[a + 1]),
    window = tonumber(ARGV[a + 2]),
    burst = tonumber(ARGV[a + 3]),
    cost = tonumber(ARGV[a + 4]),
    status = 0,
  }
  local flags, dry, ban = ARGV[a + 5], false, 0
  if flags ~= '' then
    l.lease = string.match(flags, '%d+%.%d+')
    dry = string.find(flags, 'd', 1, true)
    if string.find(flags, 's', 1, true) then
      key = key + 1
      l.pending = pending(KEYS[key], l)
    end
    if string.find(flags, 'b', 1, true) then
      key = key + 1
      ban = banned(KEYS[key])
    end
  end
  key = key + 1

  l.is.look(l)
  if ban > 0 then
    l.status, l.ban = 3, ban
  elseif l.is.fits(l, l.cost) then
    l.status = 1
  elseif l.pending and l.is.fits(l, l.cost - l.pending.current - l.pending.previous) then
    l.status = 2
  end
  if l.status ~= 1 and not dry then admitted = 0 end
  limits[#limits + 1] = l
end

local take = admitted == 1 and ARGV[2] == 'take'
local reply, n = {admitted}, 1
for _, l in ipairs(limits) do
  local wait, mark, pending_mark = 0, 0, 0
  if l.status == 3 then
    wait = l.ban * 1000
  elseif l.status ~= 1 then
    wait = l.is.admits(l) - now
  elseif take then
    mark = l.is.admit(l)
    l.is.store(l)
    if l.pending then
      pending_mark = algorithms.sliding_window.admit(l.pending)
      algorithms.sliding_window.store(l.pending)
    end
  end
  local remaining, reset = l.is.left(l)
  reply[n + 1], reply[n + 2], reply[n + 3] = l.status, remaining, math.max(0, reset - now)
  reply[n + 4], reply[n + 5], reply[n + 6] = wait, mark, pending_mark
  n = n + 6
end
return reply
