-- store adds the job whose arguments begin at ARGV[a], and behind which so many more are stored at once: they keep their order by microseconds.
--   ID, head and body, length of the head, digests of owner, host, key and what the key is about, delay, at
local function store(a, behind)
  local id, spec, head, owner, host, key = ARGV[a], ARGV[a + 1], int(ARGV[a + 2]), ARGV[a + 3], ARGV[a + 4], ARGV[a + 5]
  local due = math.max(now + int(ARGV[a + 7]), int(ARGV[a + 8])) - behind
  local size = #spec + overhead
  call('SET', base .. 'spec:' .. id, spec)
  local job = {'s', 'w', 'c', text(now), 'b', text(due), 'd', text(due), 'z', size, 'h', head, 'y', #spec - head}
  if owner ~= '' then
    job[#job + 1], job[#job + 2], job[#job + 3], job[#job + 4] = 'o', owner, 'g', host
    call('ZADD', base .. 'owner:' .. owner, text(now), id)
  end
  if key ~= '' then
    job[#job + 1], job[#job + 2] = 'k', key
    call('SET', base .. 'key:' .. key, id .. ' ' .. ARGV[a + 6])
  end
  call('HSET', base .. 'job:' .. id, unpack(job))
  call('ZADD', waiting, text(due), id)
  call('HINCRBY', meta, 'live', size)
  -- Behind others it runs when those have.
  if call('ZRANK', waiting, id) == 0 then publish('w') end
end
