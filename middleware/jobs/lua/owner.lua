-- Cancels a user's jobs, some of them in one run.
--   ARGV   3 owner, 4 host or "", 5 keep, 6 how many of the list are to be passed over, 7 how many are looked at
--   reply  how many were cancelled, how many are passed over next, how many were looked at

local ids = call('ZRANGE', base .. 'owner:' .. ARGV[3], ARGV[6], int(ARGV[6]) + int(ARGV[7]) - 1)
local n, pass = 0, int(ARGV[6])
for _, id in ipairs(ids) do
  local r = read(id)
  if not r then
    call('ZREM', base .. 'owner:' .. ARGV[3], id)
  elseif ARGV[4] ~= '' and call('HGET', base .. 'job:' .. id, 'g') ~= ARGV[4] then
    pass = pass + 1
  else
    n = n + cancel_one(id, r, '1', int(ARGV[5]))
    if r.s == 'r' then pass = pass + 1 end
  end
end
return {n, pass, #ids}
