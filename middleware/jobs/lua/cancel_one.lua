-- cancel_one cancels a job that is not over, and reports by 1 whether that is news.
local function cancel_one(id, r, how, keep)
  local job = base .. 'job:' .. id
  if r.s == 'w' then
    call('ZREM', waiting, id)
    call('HDEL', job, 't')
    call('HSET', job, 'x', how, 'r', 'it was cancelled')
    to_over(id, r, 'c', keep)
    return 1
  end
  if r.s ~= 'r' or int(r.x) >= int(how) then return 0 end
  call('HDEL', job, 'x') -- so that a full Redis takes the next
  call('HSET', job, 'x', how)
  return 1
end
