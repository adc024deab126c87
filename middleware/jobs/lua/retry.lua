-- Puts failed jobs back.
--   ARGV   3 ID, or "" and 4 how many
--   reply  how many were put back

local n = 0
if ARGV[3] ~= '' then
  local r = read(ARGV[3])
  if not r or r.s ~= 'f' or int(r.e) <= now then return 0 end
  again(ARGV[3], r, now)
  n = 1
else
  for _, entry in ipairs(call('ZRANGEBYSCORE', sets.f, '(' .. text(now), '+inf', 'LIMIT', 0, ARGV[4])) do
    local id = string.match(entry, '^(.*):%d+$')
    local r = read(id)
    -- Each a microsecond behind the one before, so that they keep their order.
    if r then again(id, r, now - (int(ARGV[4]) - 1 - n)) else call('ZREM', sets.f, entry) end
    n = n + 1
  end
end
if n > 0 then publish('w') end
return n
