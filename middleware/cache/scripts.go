package cache

import "github.com/headgate/headgate/middleware/store"

// indexPrologue begins the scripts that change an index. They tell what the
// account of bytes is to know of it (see [parseIndexReply]):
// {fields, bytes of their values, milliseconds left} of the index before and
// after, then {chunks, length of the last, milliseconds left before, after} for
// each body whose expiry has changed.
const indexPrologue = `
local told = {}
local function tell(...)
  for _, n in ipairs({...}) do told[#told + 1] = n end
end
local function tellIndex()
  local fields, bytes = redis.call('HKEYS', KEYS[1]), 0
  for i = 1, #fields do bytes = bytes + redis.call('HSTRLEN', KEYS[1], fields[i]) end
  tell(#fields, bytes, redis.call('PTTL', KEYS[1]))
end

local function chunks(value, prefix)
  return prefix .. string.sub(value, 14, 45) .. ':', tonumber(string.sub(value, 46, 51))
end
local function tellBody(name, n, ms)
  local left = redis.call('PTTL', name .. 0)
  -- A second more or less is not told: most bodies were written just now.
  if left > 0 and math.abs(left - ms) > 1000 then tell(n, redis.call('STRLEN', name .. (n - 1)), left, ms) end
end

local function expire(name, n, ms)
  tellBody(name, n, ms)
  for i = 0, n - 1 do redis.call('PEXPIRE', name .. i, ms) end
end
`

// putScript makes a variant visible, if all chunks of its body are there, and
// lets go of the body that it replaces. Where the index is full, a variant leaves
// it with its body: none that is named behind the other arguments, if there is
// another, and then as leastWanted says. {}: chunks are missing. {0}: the lease under
// which it was fetched has ended, and the variant is another one than was seen then.
var putScript = store.NewScript(indexPrologue + `
local field, blob, ms, prefix, most = ARGV[1], ARGV[2], tonumber(ARGV[3]), ARGV[4], tonumber(ARGV[5])
local linger = tonumber(ARGV[6])

local name, n = chunks(blob, prefix)
for i = 0, n - 1 do
  if redis.call('EXISTS', name .. i) == 0 then return {} end
end
if KEYS[2] and redis.call('GET', KEYS[2]) ~= ARGV[7] then
  local now = string.sub(redis.call('HGET', KEYS[1], field) or '', 14, 45)
  if now ~= '' and now ~= ARGV[8] and now ~= string.sub(blob, 14, 45) then return {0} end
end
tellIndex()
expire(name, n, ms + linger)

-- Readers that have seen the old metadata may still be at its body.
local function replace(value)
  local old, count = chunks(value, prefix)
  if old ~= name then expire(old, count, linger) end
end

local function owner(value)
  local id = string.sub(value, 52, 55)
  return id ~= string.rep(string.char(0), 4) and id
end

local function leastWanted()
  local spared, held = {}, {}
  for i = 9, #ARGV do spared[ARGV[i]] = true end
  local all = redis.call('HGETALL', KEYS[1])
  local function count(value)
    local id = owner(value)
    if id then held[id] = (held[id] or 0) + 1 end
  end
  count(blob)
  for i = 1, #all, 2 do
    if all[i] ~= '#' then count(all[i + 1]) end
  end
  local out, value, rank
  for i = 1, #all, 2 do
    if all[i] ~= '#' then
      local of = spared[all[i]] and -1 or held[owner(all[i + 1])] or 0
      if not out or of > rank or of == rank and string.sub(all[i + 1], 1, 13) < string.sub(value, 1, 13) then
        out, value, rank = all[i], all[i + 1], of
      end
    end
  end
  return out, value
end

local before = redis.call('HGET', KEYS[1], field)
if before then
  replace(before)
elseif redis.call('HLEN', KEYS[1]) > most then
  local out, value = leastWanted()
  redis.call('HDEL', KEYS[1], out)
  local name, n = chunks(value, prefix)
  expire(name, n, 0)
end
redis.call('HSET', KEYS[1], field, blob)
redis.call('HINCRBY', KEYS[1], '#', 1)
if redis.call('PTTL', KEYS[1]) < ms then redis.call('PEXPIRE', KEYS[1], ms) end
tellIndex()
return told
`)

// removeScript removes a variant, if it still has the given body (”: whichever
// it has), and lets go of the body. {}: it was not there.
var removeScript = store.NewScript(indexPrologue + `
local value = redis.call('HGET', KEYS[1], ARGV[1])
if not value or (ARGV[2] ~= '' and string.sub(value, 14, 45) ~= ARGV[2]) then return {} end
tellIndex()
redis.call('HDEL', KEYS[1], ARGV[1])
redis.call('HINCRBY', KEYS[1], '#', 1)
local name, n = chunks(value, ARGV[3])
expire(name, n, tonumber(ARGV[4]))
tellIndex()
return told
`)
