-- Cancels a job.
--   ARGV   3 ID, 4 how, 5 keep
--   reply  1 if that is news, else 0

local r = read(ARGV[3])
if not r then return 0 end
return cancel_one(ARGV[3], r, ARGV[4], int(ARGV[5]))
