-- standing is what an estimate of a job is made of: its place, the average, not before, now.
local function standing(id)
  local m = call('HMGET', meta, 'avg', 'nb')
  local rank = id and call('ZRANK', waiting, id)
  return (rank or -1) + 1, int(m[1]), int(m[2]), now
end
