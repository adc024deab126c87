package cache

import "github.com/headgate/headgate/middleware/store"

// putScript makes a variant visible, if all chunks of its body are there, and
// lets go of the body that it replaces. 1: done; 0: chunks are missing.
var putScript = store.NewScript(`
local field, blob, ms, prefix, most = ARGV[1], ARGV[2], tonumber(ARGV[3]), ARGV[4], tonumber(ARGV[5])
local function chunks(value) return prefix .. string.sub(value, 14, 45) .. ':', tonumber(string.sub(value, 46, 51)) end

local name, n = chunks(blob)
for i = 0, n - 1 do
  if redis.call('PEXPIRE', name .. i, ms + 10000) == 0 then return 0 end
end

local function retire(value)
  local old, count = chunks(value)
  if old ~= name then
    -- Readers that have seen the old metadata may still be at it.
    for i = 0, count - 1 do redis.call('PEXPIRE', old .. i, 10000) end
  end
end

local before = redis.call('HGET', KEYS[1], field)
if before then
  retire(before)
elseif redis.call('HLEN', KEYS[1]) > most then
  local oldest, when, value
  local all = redis.call('HGETALL', KEYS[1])
  for i = 1, #all, 2 do
    if all[i] ~= '#' and (not when or string.sub(all[i + 1], 1, 13) < when) then
      oldest, value, when = all[i], all[i + 1], string.sub(all[i + 1], 1, 13)
    end
  end
  retire(value)
  redis.call('HDEL', KEYS[1], oldest)
end
redis.call('HSET', KEYS[1], field, blob)
redis.call('HINCRBY', KEYS[1], '#', 1)
if redis.call('PTTL', KEYS[1]) < ms then redis.call('PEXPIRE', KEYS[1], ms) end
return 1
`)

// removeScript removes a variant, if it still has the given body.
var removeScript = store.NewScript(`
local value = redis.call('HGET', KEYS[1], ARGV[1])
if value and string.sub(value, 14, 45) == ARGV[2] then
  redis.call('HDEL', KEYS[1], ARGV[1])
  redis.call('HINCRBY', KEYS[1], '#', 1)
end
return 1
`)
