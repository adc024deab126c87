-- Deals with a time of a schedule.
--   ARGV   3 schedule, 4 identity of its times, 5 the time, 0: none, 6 "1" if it is missed, 7 "1" if jobs may overlap; the job
--   reply  what became of it, the newest time that was dealt with, now

local key, planned = base .. 'schedule:' .. ARGV[3], int(ARGV[5])
local s = call('HMGET', key, 'i', 'last', 'job')
local last = int(s[2])

-- remember has the state expire a while after the longest time between two times of most schedules.
local function remember(...)
  call('HSET', key, ...)
  call('PEXPIRE', key, ms(400 * 86400000000))
end

if s[1] ~= ARGV[4] then
  remember('i', ARGV[4], 'last', text(now))
  return {'n', now, now}
end
if planned <= last then return {'b', last, now} end
if planned > now then return {'e', last, now} end
local state = s[3] and call('HGET', base .. 'job:' .. s[3], 's')
if ARGV[6] == '1' then
  remember('last', text(planned))
  return {'k', planned, now}
end
if ARGV[7] ~= '1' and (state == 'w' or state == 'r') then
  remember('last', text(planned))
  return {'o', planned, now}
end
remember('last', text(planned), 'job', ARGV[8])
store(8, 0)
return {'s', planned, now}
