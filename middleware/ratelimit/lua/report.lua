-- Counts what an instance has admitted while it could not ask, once for each sequence.
--   KEYS  counter, its reports: the last sequence of each instance
--   ARGV  the time or ""; algorithm, requests, window, burst, what was admitted, the instance, the
--         sequence, how long that is kept, milliseconds
--   reply 1, or 0 where the report was taken before

local reported = tonumber(redis.call('HGET', KEYS[2], ARGV[7]) or 0)
if tonumber(ARGV[8]) <= reported then return 0 end
redis.call('HSET', KEYS[2], ARGV[7], ARGV[8])
redis.call('PEXPIRE', KEYS[2], ARGV[9])

local is, admitted = algorithms[ARGV[2]], tonumber(ARGV[6])
local l = {
  key = KEYS[1],
  requests = tonumber(ARGV[3]),
  window = tonumber(ARGV[4]),
  burst = tonumber(ARGV[5]),
  cost = 1,
}
is.look(l)
local mark = is.admit(l)
is.store(l)
-- The rest is charged beside the first: it may be more than fits.
l.add, l.cost = nil, admitted - 1
is.look(l)
if is.charge(l, mark) then is.store(l) end
return 1
