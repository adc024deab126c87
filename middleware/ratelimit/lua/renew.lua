-- Renews leases, and puts back those that are gone: Redis may have lost its memory.
--   KEYS  sets of leases
--   ARGV  the time or ""; how long a lease lasts, microseconds; then per set: how many
--         leases, and their IDs

local ends = now + tonumber(ARGV[2])
local score, lasts, a = string.format('%.0f', ends), expiry(ends), 3
for _, key in ipairs(KEYS) do
  local n, pairs = tonumber(ARGV[a]), {}
  for i = 1, n do
    pairs[2 * i - 1], pairs[2 * i] = score, ARGV[a + i]
  end
  redis.call('ZADD', key, unpack(pairs))
  redis.call('PEXPIRE', key, lasts)
  a = a + n + 1
end
return 1
