-- Gives jobs to a worker.
--   ARGV   3 how many at most, 4 concurrency, 5 lease, 6 max_age, 7 keep, 8 how much of a body is returned, 9 token,
--          10 the token of a claim that was not answered
--   reply  now; when to ask again, -1: unknown; how many leases had ended; IDs of jobs that were too old; per job: ID, record, spec

local most, concurrency, lease, max_age, keep = int(ARGV[3]), int(ARGV[4]), int(ARGV[5]), int(ARGV[6]), int(ARGV[7])
local expired, granted, lost = {}, {}, 0

for _, id in ipairs(call('ZRANGEBYSCORE', running, '-inf', text(now))) do
  local r = read(id)
  if r then give_back(id, r, keep) else call('ZREM', running, id) end
  lost = lost + 1
end
if ARGV[10] ~= '' then
  for _, id in ipairs(call('ZRANGE', running, 0, -1)) do
    local r = read(id)
    if r and r.t == ARGV[10] then give_back(id, r, keep) end
  end
end

-- A clock that was set back leaves instants in the future: leases longer than any, and jobs that were enqueued after now. They are brought forward.
for _, id in ipairs(call('ZRANGEBYSCORE', running, text(now + lease + 1000000), '+inf')) do
  call('ZREM', running, id)
  call('ZADD', running, text(now + lease), id)
end
for _ = 1, 64 do
  local first = call('ZRANGE', waiting, 0, 0, 'WITHSCORES')
  if not first[1] or tonumber(first[2]) <= now then break end
  local r = read(first[1])
  if not r or int(r.c) <= now + 1000000 then break end
  local ahead = int(r.c) - now
  call('ZREM', waiting, first[1])
  call('HSET', base .. 'job:' .. first[1], 'c', text(now), 'b', text(int(r.b) - ahead), 'd', text(int(r.d) - ahead))
  call('ZADD', waiting, text(int(r.d) - ahead), first[1])
end

local m = call('HMGET', meta, 'p', 'nb')
if m[1] then return {now, -1, lost, expired} end
if int(m[2]) > now then return {now, int(m[2]) - now, lost, expired} end

local runs = call('ZCARD', running)
local free = math.min(most, concurrency - runs)
for _ = 1, 64 do
  if #granted >= free then break end
  local id = call('ZRANGEBYSCORE', waiting, '-inf', text(now), 'LIMIT', 0, 1)[1]
  if not id then break end
  call('ZREM', waiting, id)
  local r, job = read(id), base .. 'job:' .. id
  if not r then -- evicted: nothing is left of it
  elseif int(r.b) + max_age <= now then
    call('HSET', job, 'r', 'max_age was over before an app server had done it')
    to_over(id, r, 'f', keep)
    expired[#expired + 1] = id
  else
    call('ZADD', running, text(now + lease), id)
    call('HSET', job, 's', 'r', 'i', text(now), 't', ARGV[9])
    granted[#granted + 1] = {id, call('HGETALL', job), call('GETRANGE', base .. 'spec:' .. id, 0, int(r.h) + int(ARGV[8]) - 1)}
  end
end

local next, head = -1, nil
if runs + #granted >= concurrency then head = running else head = waiting end
head = call('ZRANGE', head, 0, 0, 'WITHSCORES')
if head[2] then
  next = math.max(0, tonumber(head[2]) - now)
elseif runs + #granted == 0 and int(call('HGET', meta, 'live')) ~= 0 then
  redis.pcall('HSET', meta, 'live', 0) -- jobs were evicted
end
return {now, next, lost, expired, unpack(granted)}
