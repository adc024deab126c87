-- What ends a job. r is its record by the names of its fields.

local wanted = {'s', 'd', 't', 'z', 'y', 'h', 'o', 'k', 'x', 'e', 'b', 'n', 'm', 'w', 'c'}

-- read returns a job's record, nil where there is none.
local function read(id)
  local values = call('HMGET', base .. 'job:' .. id, unpack(wanted))
  if not values[1] then return nil end
  local r = {}
  for i, name in ipairs(wanted) do r[name] = values[i] or nil end
  return r
end

-- to_over ends a job that waits or runs and was removed from that set.
local function to_over(id, r, state, keep, result)
  local job, spec = base .. 'job:' .. id, base .. 'spec:' .. id
  local size, left, expires = int(r.z), int(r.y), now + keep
  call('HINCRBY', meta, 'live', -size)
  if state ~= 'f' and left > 0 then
    call('SET', spec, call('GETRANGE', spec, 0, int(r.h) - 1), 'PX', ms(keep))
    size, left = size - left, 0
  else
    call('PEXPIRE', spec, ms(keep))
  end
  if result and result ~= '' then
    call('SET', base .. 'result:' .. id, result, 'PX', ms(keep))
    size = size + #result
  end
  call('HSET', job, 's', state, 'l', text(now), 'e', text(expires), 'z', size, 'y', left)
  call('PEXPIRE', job, ms(keep))
  local set = sets[state]
  call('ZADD', set, text(expires), id .. ':' .. size)
  call('INCRBY', set .. ':bytes', size)
  if call('PTTL', set) < keep / 1000 + linger then
    call('PEXPIRE', set, ms(keep))
    call('PEXPIRE', set .. ':bytes', ms(keep))
  end
  if r.o then call('ZREM', base .. 'owner:' .. r.o, id) end
  if r.k then call('PEXPIRE', base .. 'key:' .. r.k, ms(keep)) end
  if r.w then publish(id) end
end

-- give_back puts a job back whose lease ends without an answer. One that was cancelled meanwhile is over.
local function give_back(id, r, keep)
  call('ZREM', running, id)
  call('HDEL', base .. 'job:' .. id, 't')
  if r.x then return to_over(id, r, 'c', keep) end
  call('HSET', base .. 'job:' .. id, 's', 'w')
  call('ZADD', waiting, r.d, id)
end
