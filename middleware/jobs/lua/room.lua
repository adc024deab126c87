-- drop forgets the first jobs of a set, as many as there are in entries.
local function drop(set, entries, keys)
  for _, entry in ipairs(entries) do
    local id, size = string.match(entry, '^(.*):(%d+)$')
    call('ZREM', set, entry)
    call('INCRBY', set .. ':bytes', -int(size))
    if keys then
      local key = call('HGET', base .. 'job:' .. id, 'k')
      call('DEL', base .. 'job:' .. id, base .. 'spec:' .. id, base .. 'result:' .. id)
      if key then call('DEL', base .. 'key:' .. key) end
    end
  end
end

-- trim removes what has expired by itself from the sets.
local function trim()
  for _, set in pairs(sets) do
    drop(set, call('ZRANGEBYSCORE', set, '-inf', text(now), 'LIMIT', 0, 64))
  end
end

local function kept()
  local bytes = 0
  for _, set in pairs(sets) do bytes = bytes + int(call('GET', set .. ':bytes')) end
  return bytes
end

-- make_room forgets the oldest jobs that are over while these take more than max bytes: 16 at most, and two more for each that was stored.
local function make_room(max, stored)
  if kept() <= max then return end
  trim()
  local dropped = 0
  for _, state in ipairs({'d', 'c', 'f'}) do
    while dropped < 16 + 2 * stored and kept() > max do
      local first = call('ZRANGE', sets[state], 0, 0)
      if #first == 0 then break end
      drop(sets[state], first, true)
      dropped = dropped + 1
    end
  end
end
