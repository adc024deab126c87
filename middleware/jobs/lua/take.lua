-- Stores jobs, all of them or none. What is there already is not stored again.
--   ARGV   3 the most bytes; the jobs
--   reply  s and 0; then per job: s stored, k known by its key, the ID, its standing. Or c and which job's key stands for another one. Or f and 0, where they
--          have no room, and the queue's standing

-- confirm writes what is there already: replicas are waited for by what a connection writes, and another one may have stored the job.
local function confirm(job)
  local created = call('HGET', base .. 'job:' .. job, 'c')
  if created then call('HSET', base .. 'job:' .. job, 'c', created) end
  return created
end

local keys = {} -- of the jobs before

-- same returns the ID of the job that the key of another one stands for, and what must be the same.
local function same(key)
  if keys[key] then return unpack(keys[key]) end
  local id, print = string.match(call('GET', base .. 'key:' .. key) or '', '^(.*) (.*)$')
  if not id then return nil end
  local job = call('HMGET', base .. 'job:' .. id, 's', 'e')
  if not job[1] or job[2] and int(job[2]) <= now then return nil end -- it is over for longer than it is kept
  return id, print
end

local max, bytes, new, found = int(ARGV[3]), int(call('HGET', meta, 'live')), {}, {}
for a = 4, #ARGV, 9 do
  local id, as, key, print = ARGV[a], 's', ARGV[a + 5], ARGV[a + 6]
  if not confirm(id) then
    local known, about
    if key ~= '' then known, about = same(key) end
    if known and about ~= print then return {'c', (a - 4) / 9} end
    if known then
      id, as = known, 'k'
      confirm(id)
    else
      if key ~= '' then keys[key] = {id, print} end
      new[#new + 1] = a
      bytes = bytes + #ARGV[a + 1] + overhead
    end
  end
  found[#found + 1] = {as, id}
end
if #new > 0 and bytes > max then return {'f', 0, standing()} end
for i, a in ipairs(new) do store(a, #new - i) end
if #new > 0 then make_room(max, #new) end

local reply, n = {'s', 0}, 2
for _, job in ipairs(found) do
  reply[n + 1], reply[n + 2] = job[1], job[2]
  reply[n + 3], reply[n + 4], reply[n + 5], reply[n + 6] = standing(job[2])
  n = n + 6
end
return reply
