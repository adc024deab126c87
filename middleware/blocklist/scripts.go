package blocklist

import (
	"fmt"

	"github.com/headgate/headgate/middleware/store"
)

// The keys of all scripts, in one slot:
//
//	head      a hash: the list's random identity, its version, and the version up to which removals are forgotten
//	blocks    a hash: network -> when it began, when it ends (0: never), and what operators wrote
//	ends      a sorted set: networks by when they end
//	versions  a sorted set: networks by the version of their last change
//	removed   a sorted set: networks that are blocked no more, by the version at which they were removed
//	instances the instances that follow the list, see store.Presence
//
// The prologue reads the head. If the keys do not go together, Redis has evicted some or lost
// its newest writes, and the list is another one.
var prologue = store.PresenceLua + fmt.Sprintf(`
local head, blocks, ends, versions, removed, instances = KEYS[1], KEYS[2], KEYS[3], KEYS[4], KEYS[5], KEYS[6]
local now, history, instance = now_ms(), %d, ARGV[1]
local known = redis.call('HMGET', head, 'id', 'version', 'floor')
local id, version, floor = known[1] or '', tonumber(known[2] or 0), tonumber(known[3] or 0)
local count = redis.call('HLEN', blocks)
if count ~= redis.call('ZCARD', ends) or count ~= redis.call('ZCARD', versions) or (id == '' and count > 0) then
  redis.call('DEL', head, blocks, ends, versions, removed)
  id, version, floor, count = '', 0, 0, 0
end

local function drop(network, at)
  redis.call('HDEL', blocks, network)
  redis.call('ZREM', ends, network)
  redis.call('ZREM', versions, network)
  redis.call('ZADD', removed, at, network)
  count = count - 1
end

-- Blocks that have ended go, a thousand at once. They are removals: an instance may know of an
-- earlier, longer block of the same network.
local function sweep()
  for _, network in ipairs(redis.call('ZRANGEBYSCORE', ends, '-inf', now, 'LIMIT', 0, 1000)) do
    version = version + 1
    drop(network, version)
  end
end

-- Ten thousand removals are remembered. Who is further behind reads the whole list.
local function save(channel)
  local over = redis.call('ZCARD', removed) - 10000
  if over > 0 then
    floor = tonumber(redis.call('ZRANGE', removed, over - 1, over - 1, 'WITHSCORES')[2])
    redis.call('ZREMRANGEBYSCORE', removed, '-inf', floor)
  end
  redis.call('HSET', head, 'id', id, 'version', version, 'floor', floor)
  local last = redis.call('ZRANGE', ends, -1, -1, 'WITHSCORES')[2]
  for i = 1, 5 do
    if last == 'inf' then
      redis.call('PERSIST', KEYS[i])
    else
      redis.call('PEXPIRE', KEYS[i], string.format('%%d', math.max(0, tonumber(last or now) - now) + history))
    end
  end
  redis.call('PUBLISH', channel, version)
end
`, keepsHistory.Milliseconds())

// followScript has an instance say how far it is, and tells it what has changed since.
//
//	ARGV  instance or "", the list's identity and the version that are known there, a new identity, the lease in
//	      milliseconds, how many changes at most, "more" if the version is the end of a page
//	reply {identity, version, 1 if these are all blocks, the version up to which they are, the time, {network, block or "", ...}}
var followScript = store.NewScript(prologue + `
local known_id, from, new_id, lease, page = ARGV[2], tonumber(ARGV[3]), ARGV[4], tonumber(ARGV[5]), tonumber(ARGV[6])
if id ~= '' and id == known_id and version < from then
  id = new_id
  redis.call('HSET', head, 'id', id)
end
local all = 0
if id ~= known_id or (from < floor and ARGV[7] ~= 'more') then all, from = 1, 0 end
if instance ~= '' then be_present(instances, instance, lease, from, id) end

local changed, read = {}, version
local function collect(key)
  local found = redis.call('ZRANGEBYSCORE', key, '(' .. from, '+inf', 'WITHSCORES', 'LIMIT', 0, page)
  if #found == 2 * page then read = math.min(read, tonumber(found[#found])) end
  local names = {}
  for i = 1, #found, 2 do names[#names + 1] = found[i] end
  if #names == 0 then return end
  local values = redis.call('HMGET', blocks, unpack(names))
  for i, network in ipairs(names) do
    changed[#changed + 1] = network
    changed[#changed + 1] = values[i] or ''
  end
end
collect(versions)
if all == 0 then collect(removed) end
return {id, version, all, read, now, changed}
`)

// addScript adds a block.
//
//	ARGV  instance, network, text, milliseconds or 0, how many blocks there may be, channel, a new identity,
//	      when it began, if it is one that Redis has lost, else ""
//	reply {ok, full or there, identity, version, 1 if the instance is among those that follow}
var addScript = store.NewScript(prologue + `
local network, text, ms, most, channel, new_id, since = ARGV[2], ARGV[3], tonumber(ARGV[4]), tonumber(ARGV[5]), ARGV[6], ARGV[7], ARGV[8]
local sure = redis.call('HEXISTS', instances, instance)
if since ~= '' and (redis.call('ZSCORE', versions, network) or redis.call('ZSCORE', removed, network)) then
  return {'there', id, version, sure}
end
sweep()
if redis.call('HEXISTS', blocks, network) == 0 then
  if count >= most then
    if id ~= '' then save(channel) end
    return {'full', id, version, sure}
  end
end
if id == '' then id = new_id end
if since == '' then since = string.format('%d', now) end
version = version + 1
local stop = 0
if ms > 0 then stop = now + ms end
redis.call('HSET', blocks, network, since .. string.format(' %d ', stop) .. text)
redis.call('ZADD', ends, ms > 0 and string.format('%d', stop) or '+inf', network)
redis.call('ZADD', versions, version, network)
redis.call('ZREM', removed, network)
save(channel)
return {'ok', id, version, sure}
`)

// removeScript removes the block of a network.
//
//	ARGV  instance, network, channel
//	reply {ok or none, identity, version, 1 if the instance is among those that follow}
var removeScript = store.NewScript(prologue + `
local network, channel = ARGV[2], ARGV[3]
local sure = redis.call('HEXISTS', instances, instance)
if id ~= '' then sweep() end
local word = 'none'
if redis.call('HEXISTS', blocks, network) == 1 then
  version = version + 1
  drop(network, version)
  word = 'ok'
end
if id ~= '' then save(channel) end
return {word, id, version, sure}
`)

// leaveScript takes an instance from those that follow the list.
var leaveScript = store.NewScript(`return redis.call('HDEL', KEYS[1], ARGV[1])`)
