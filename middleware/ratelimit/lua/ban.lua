-- Counts denials towards a ban, and begins the ban that they complete.
--   KEYS  denials, ban
--   ARGV  denials since the last call, how many make a ban, window and ban in milliseconds
--   reply how long the ban still lasts, milliseconds; 0 if there is none

local lasts = banned(KEYS[2])
if lasts > 0 then return lasts end

local denials = redis.call('INCRBY', KEYS[1], ARGV[1])
if denials < tonumber(ARGV[2]) then
  local counts = redis.call('PTTL', KEYS[1])
  if counts < 0 or counts > tonumber(ARGV[3]) then redis.call('PEXPIRE', KEYS[1], ARGV[3]) end
  return 0
end
redis.call('SET', KEYS[2], ARGV[4], 'PX', ARGV[4])
redis.call('DEL', KEYS[1])
return tonumber(ARGV[4])
