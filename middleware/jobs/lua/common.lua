-- What all scripts of a queue begin with. Each mirrors a method of memory.go or memoryviews.go; property tests hold the two together.
--   KEYS[1]  what the queue's keys begin with; its hash tag puts all of them into one slot
--   ARGV[1]  the time or "" for Redis' own, ARGV[2] the channel of messages; the script's own arguments follow
--
-- The queue's keys:
--   waiting, running             the IDs of jobs, by when they are due, and by the end of their leases
--   done, failed, cancelled      those that are over, each with its size behind it, by when they are forgotten
--   done:bytes and so on         what they take together
--   meta                         live: the bytes of jobs that wait and run; avg: of attempts; nb: not before; p: paused
--   job:ID                       what changes of a job
--   spec:ID, result:ID           its head and its body; the answer
--   key:DIGEST                   an idempotency key: the job's ID and what must be the same
--   owner:DIGEST                 the IDs of a user's jobs that are not over
--   schedule:NAME                the newest time that was dealt with
--
-- Instants and durations are integers of microseconds, below 2^53, where doubles are exact. What is over has an expiry, written in
-- the same script. Redis refuses a command that could take memory while it is full, unless its script has written before: so what
-- takes a job begins with such a command, and everything else begins with ZREM or HDEL, which are never refused.

local base, channel = KEYS[1], ARGV[2]
local call = redis.call

-- Keys expire by Redis' own clock in any case, so that under a test's they get an hour more.
local now, linger = tonumber(ARGV[1]), 3600000
if not now then
  linger = 0
  local t = call('TIME')
  now = t[1] * 1000000 + t[2]
end

local waiting, running, meta = base .. 'waiting', base .. 'running', base .. 'meta'
local sets = {d = base .. 'done', f = base .. 'failed', c = base .. 'cancelled'}

local function int(v) return tonumber(v or 0) or 0 end

local function text(n) return string.format('%.0f', n) end

-- ms turns a duration into what PEXPIRE takes.
local function ms(duration) return text(math.max(1, math.ceil(duration / 1000)) + linger) end

-- publish tells all instances. A message that can't be sent changes nothing: those who listen look again by themselves.
local function publish(message) redis.pcall('PUBLISH', channel, message) end
