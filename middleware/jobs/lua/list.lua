-- Lists jobs.
--   ARGV   3 status, 4 offset, 5 limit
--   reply  the jobs

local status, offset, limit = ARGV[3], int(ARGV[4]), int(ARGV[5])
local ids, jobs
if status == 'queued' or status == 'waiting' then
  local from, to, due = offset, offset + limit - 1, call('ZCOUNT', waiting, '-inf', text(now))
  if status == 'queued' then to = math.min(to, due - 1) else from, to = from + due, to + due end
  ids = to < from and {} or call('ZRANGE', waiting, from, to)
elseif status == 'running' then
  ids = call('ZRANGE', running, offset, offset + limit - 1)
else -- those that are kept longest first
  ids = call('ZREVRANGEBYSCORE', base .. status, '+inf', '(' .. text(now), 'LIMIT', offset, limit)
  for i, entry in ipairs(ids) do ids[i] = string.match(entry, '^(.*):%d+$') end
end
jobs = {}
for _, id in ipairs(ids) do jobs[#jobs + 1] = show(id) end
return jobs
