-- Ends an attempt, and stores its follow-ups.
--   ARGV   3 ID, 4 token, 5 state, 6 it is an attempt, 7 the job keeps its place, 8 delay, 9 pause of the queue, 10 keep, 11 the most bytes,
--          12 how long it took, 13 status, 14 reason, 15 result, 16 result for a Redis that is full; the follow-ups
--   reply  f finished, b finished before by this token, l the lease is lost

local id, job = ARGV[3], base .. 'job:' .. ARGV[3]
local r = read(id)
if not r or r.t ~= ARGV[4] then return 'l' end
if r.s ~= 'r' then return 'b' end

local result = ARGV[15]
if #result > #ARGV[16] then
  local refused = redis.pcall('SET', base .. 'probe', 1, 'PX', 1000)
  if type(refused) == 'table' and refused.err then result = ARGV[16] end
end
call('ZREM', running, id)

local took = int(ARGV[12])
if took > 0 then
  local average = int(call('HGET', meta, 'avg'))
  if average > 0 then took = math.floor((7 * average + took) / 8) end
  call('HSET', meta, 'avg', text(took))
end
local slow = int(ARGV[9])
if slow > 0 and now + slow > int(call('HGET', meta, 'nb')) then call('HSET', meta, 'nb', text(now + slow)) end

local n, m = int(r.n), int(r.m)
if ARGV[6] == '1' then n, m = n + 1, 0 elseif ARGV[7] ~= '1' then m = m + 1 end
call('HSET', job, 'n', n, 'm', m, 'a', ARGV[13], 'r', ARGV[14])

local state, keep = ARGV[5], int(ARGV[10])
if state == 'w' and r.x then state = 'c' end
if state == 'w' then
  local due = r.d
  if ARGV[7] ~= '1' then due = text(now + int(ARGV[8])) end
  call('HSET', job, 's', 'w', 'd', due)
  call('ZADD', waiting, due, id)
  if ARGV[7] == '1' then publish('w') end
else
  to_over(id, r, state, keep, result)
  for a = 17, #ARGV, 9 do store(a, (#ARGV - 8 - a) / 9) end
  make_room(int(ARGV[11]), (#ARGV - 16) / 9)
end
return 'f'
