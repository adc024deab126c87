-- again puts a failed job back as if it were new: with all of its attempts, and its whole max_age.
local function again(id, r, due)
  local job, set, size = base .. 'job:' .. id, sets.f, int(r.z)
  call('ZREM', set, id .. ':' .. size)
  call('INCRBY', set .. ':bytes', -size)
  size = size - call('STRLEN', base .. 'result:' .. id)
  call('DEL', base .. 'result:' .. id)
  call('HDEL', job, 't', 'x', 'l', 'e')
  call('HSET', job, 's', 'w', 'n', 0, 'm', 0, 'b', text(due), 'd', text(due), 'z', size)
  call('PERSIST', job)
  call('PERSIST', base .. 'spec:' .. id)
  if r.k then call('PERSIST', base .. 'key:' .. r.k) end
  if r.o then call('ZADD', base .. 'owner:' .. r.o, text(now), id) end
  call('ZADD', waiting, text(due), id)
  call('HINCRBY', meta, 'live', size)
end
