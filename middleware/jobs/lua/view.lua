-- Shows a job.
--   ARGV   3 ID, 4 "1" if a client waits for its end
--   reply  the job, or nothing

local job, r = show(ARGV[3])
if not job then return {} end
if ARGV[4] == '1' and (r.s == 'w' or r.s == 'r') then redis.pcall('HSET', base .. 'job:' .. ARGV[3], 'w', '1') end
return job
