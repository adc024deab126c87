package fleet

import "github.com/headgate/headgate/middleware/store"

// acquireScript takes the lease on a fetch, unless another instance has it, or
// the index has changed since the caller looked at it.
// {"granted"} | {"changed"} | {"open"} | {"held", milliseconds}
var acquireScript = store.NewScript(`
local token, ms, seen = ARGV[1], ARGV[2], ARGV[3]
if seen ~= '-1' and (redis.call('HGET', KEYS[1], '#') or '0') ~= seen then return {'changed'} end
local holder = redis.call('GET', KEYS[2])
if holder == 'open' then return {'open'} end
if holder then
  redis.call('SET', KEYS[3], '1', 'PX', ms)
  return {'held', redis.call('PTTL', KEYS[2])}
end
redis.call('SET', KEYS[2], token, 'PX', ms)
return {'granted'}
`)

// peekScript says what acquireScript would, and takes no lease.
var peekScript = store.NewScript(`
local ms, seen = ARGV[1], ARGV[2]
if seen ~= '-1' and (redis.call('HGET', KEYS[1], '#') or '0') ~= seen then return {'changed'} end
local holder = redis.call('GET', KEYS[2])
if not holder then return {'granted'} end
if holder == 'open' then return {'open'} end
redis.call('SET', KEYS[3], '1', 'PX', ms)
return {'held'}
`)

// renewScript renews a lease that is still the caller's.
var renewScript = store.NewScript(`
if redis.call('GET', KEYS[1]) ~= ARGV[1] then return 0 end
return redis.call('PEXPIRE', KEYS[1], ARGV[2])
`)

// releaseScript ends a lease that is still the caller's, or opens it: then all
// requests go to the origin at once, for a while. Waiting instances are woken.
var releaseScript = store.NewScript(`
if redis.call('GET', KEYS[1]) ~= ARGV[1] then return 0 end
if ARGV[2] ~= '0' then
  redis.call('SET', KEYS[1], 'open', 'PX', ARGV[2])
else
  redis.call('DEL', KEYS[1])
end
if redis.call('DEL', KEYS[2]) == 1 then redis.call('PUBLISH', ARGV[3], KEYS[1]) end
return 1
`)

// The purge log: a hash with its identity, the newest epoch and the trim
// floor, and a sorted set of tags by the epoch of their last purge, which also
// holds the identity. The identity changes if either key is not what it was
// when they were last written together, or the server is another one or was
// restarted: purges may then be lost, and everything stored is void.
const logPrologue = store.PresenceLua + `
local run = string.match(redis.call('INFO', 'server'), 'run_id:(%w+)') or '?'
local head = redis.call('HMGET', KEYS[1], 'id', 'epoch', 'floor', 'run')
local id, epoch, floor = head[1], tonumber(head[2] or 0), tonumber(head[3] or 0)
local known_id, known_epoch, new_id = ARGV[1], tonumber(ARGV[2]), ARGV[3]
local reset = 0
if not id or head[4] ~= run or not redis.call('ZSCORE', KEYS[2], 'id:' .. id) or (id == known_id and epoch < known_epoch) then
  redis.call('DEL', KEYS[1], KEYS[2])
  id, epoch, floor, reset = new_id, 0, 0, 1
  redis.call('HSET', KEYS[1], 'id', id, 'epoch', 0, 'floor', 0, 'run', run)
  redis.call('ZADD', KEYS[2], 0, 'id:' .. id)
end
local month = 30 * 86400000
redis.call('PEXPIRE', KEYS[1], month)
redis.call('PEXPIRE', KEYS[2], month)
`

// followScript renews an instance's lease on its local tier, acknowledges what
// it has applied, and gives it what it has not.
// {id, epoch, floor, {member, epoch, ...}}
var followScript = store.NewScript(logPrologue + `
local instance, lease, page = ARGV[4], tonumber(ARGV[5]), tonumber(ARGV[6])
local from = known_epoch
if id ~= known_id then from = 0 end
local acked = from
local records = redis.call('ZRANGEBYSCORE', KEYS[2], '(' .. from, '+inf', 'WITHSCORES', 'LIMIT', 0, page)
if redis.call('EXISTS', KEYS[3]) == 0 then
  -- Lost: an instance that it named may still have a lease. Purges wait for that one.
  redis.call('HSET', KEYS[3], '?', (now_ms() + lease) .. ' 0 ?')
end
be_present(KEYS[3], instance, lease, acked, id)
return {id, epoch, floor, records}
`)

// purgeScript writes tags to the log. {id, epoch, unsure}; unsure says that
// the list of live instances may have been lost.
var purgeScript = store.NewScript(logPrologue + `
local instance, channel, kind, most = ARGV[4], ARGV[5], ARGV[6], tonumber(ARGV[7])
epoch = epoch + 1
for i = 8, #ARGV do redis.call('ZADD', KEYS[2], epoch, kind .. ARGV[i]) end
local over = redis.call('ZCARD', KEYS[2]) - 1 - most
if over > 0 then
  -- Rank 0 is the identity. All of an epoch goes, or the floor would lie.
  local last = redis.call('ZRANGE', KEYS[2], over, over, 'WITHSCORES')
  floor = tonumber(last[2])
  redis.call('ZREMRANGEBYSCORE', KEYS[2], '(0', floor)
  redis.call('HSET', KEYS[1], 'floor', floor)
end
redis.call('HSET', KEYS[1], 'epoch', epoch)
redis.call('PUBLISH', channel, epoch)
local unsure = reset
if redis.call('HEXISTS', KEYS[3], instance) == 0 then unsure = 1 end
return {id, epoch, unsure}
`)

// accountScript applies an instance's report to the account, once, and renews
// its lease: what it keeps, what it must have more, if there is room for that,
// and an eighth of the rest at most of what it would like to hold ready.
// {bytes granted, bytes stored, live instances, milliseconds since 1970}
var accountScript = store.NewScript(`
local me, ms, limit = ARGV[1], tonumber(ARGV[2]), tonumber(ARGV[3])
local keep, must, extra = tonumber(ARGV[4]), tonumber(ARGV[5]), tonumber(ARGV[6])
local t = redis.call('TIME')
local now = t[1] * 1000 + math.floor(t[2] / 1000)

local reported = tonumber(string.match(redis.call('HGET', KEYS[1], me) or '', '%d+$') or 0)
if ARGV[7] and tonumber(ARGV[7]) > reported then
  reported = tonumber(ARGV[7])
  for i = 8, #ARGV, 2 do redis.call('HINCRBY', KEYS[1], ARGV[i], ARGV[i + 1]) end
end

local all, stored, leased, instances, last = redis.call('HGETALL', KEYS[1]), 0, 0, 1, now + 600000
for i = 1, #all, 2 do
  local bytes, ends = string.match(all[i + 1], '^(%d+) (%d+) %d+$')
  ends = tonumber(ends or all[i] * 1000)
  if not bytes then
    stored = stored + all[i + 1]
  elseif all[i] ~= me and ends > now then
    leased, instances = leased + bytes, instances + 1
  elseif all[i] ~= me then
    -- Kept for ten minutes: the instance may be alive, and repeat its last report.
    ends = ends + 600000
  end
  last = math.max(last, ends)
  if not bytes and ends <= now then
    stored = stored - all[i + 1]
    redis.call('HDEL', KEYS[1], all[i])
  elseif bytes and all[i] ~= me and ends <= now then
    redis.call('HDEL', KEYS[1], all[i])
  end
end

local free, granted = limit - stored - leased - keep, 0
if must <= free then granted = must + math.max(0, math.min(extra, math.floor((free - must) / 8))) end
redis.call('HSET', KEYS[1], me, string.format('%d %d %d', keep + granted, now + ms, reported))
redis.call('PEXPIRE', KEYS[1], string.format('%d', last - now + 60000))
return {granted, math.max(0, stored), instances, now}
`)
