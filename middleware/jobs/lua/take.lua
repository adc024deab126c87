-- Stores a job, unless it is there already.
--   ARGV   3 the most bytes; the job's
--   reply  s stored, k known by its key, c the key stands for another one, f full; the ID; its standing

local id, key = ARGV[4], ARGV[9]

-- confirm writes what is there already: replicas are waited for by what a connection writes, and another one may have stored the job.
local function confirm(job)
  local created = call('HGET', base .. 'job:' .. job, 'c')
  if created then call('HSET', base .. 'job:' .. job, 'c', created) end
  return created
end

if confirm(id) then return {'s', id, standing(id)} end
if key ~= '' then
  local is = call('GET', base .. 'key:' .. key)
  if is then
    local other, print = string.match(is, '^(.*) (.*)$')
    local job = call('HMGET', base .. 'job:' .. other, 's', 'e')
    if not job[1] or job[2] and int(job[2]) <= now then is = nil end
    if not is then -- the job is over for longer than it is kept
    elseif print ~= ARGV[10] then return {'c', other, 0, 0, 0, now}
    else
      confirm(other)
      return {'k', other, standing(other)}
    end
  end
end
if int(call('HGET', meta, 'live')) + #ARGV[5] + overhead > int(ARGV[3]) then return {'f', '', standing()} end
store(4)
make_room(int(ARGV[3]))
return {'s', id, standing(id)}
