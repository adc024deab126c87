-- Counts denials towards a ban, and begins the ban that they complete.
--   KEYS  denials, ban
--   ARGV  denials since the last call, how many make a ban, window and ban in milliseconds
--   reply how long the ban still lasts, milliseconds; 0 if there is none

local lasts = redis.call('PTTL', KEYS[2])
if lasts > 0 then return lasts end

local denials = redis.call('INCRBY', KEYS[1], ARGV[1])
if denials < tonumber(ARGV[2]) then
  if redis.call('PTTL', KEYS[1]) < 0 then redis.call('PEXPIRE', KEYS[1], ARGV[3]) end
  return 0
end
redis.call('SET', KEYS[2], 1, 'PX', ARGV[4])
redis.call('DEL', KEYS[1])
return tonumber(ARGV[4])
