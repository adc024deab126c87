package store

import (
	"context"
	"errors"
	"time"
)

// PresenceLua has what the scripts of a log need by which instances agree on something: now_ms, and
// be_present, by which an instance says that it follows the log for some milliseconds more, and up to
// which position it has applied it. [Presence] reads what it writes.
const PresenceLua = `
local function now_ms()
  local t = redis.call('TIME')
  return t[1] * 1000 + math.floor(t[2] / 1000)
end
local function be_present(key, instance, lease, acked, log)
  redis.call('HSET', key, instance, string.format('%d %d %s', now_ms() + lease, acked, log))
  redis.call('PEXPIRE', key, 60000)
end
`

// Presence is the hash of the instances that follow a log.
type Presence struct {
	Redis *Redis
	Key   string
}

// Behind is an instance that has not applied a log up to a position.
type Behind struct {
	Instance string
	// Left is for how long the instance is known to follow the log from now on; negative, or zero:
	// how long ago that ended.
	Left time.Duration
}

// behindScript lists the instances that have not acknowledged a position of a log, each with its
// milliseconds left, and drops those that have not been heard of for a while.
var behindScript = NewScript(PresenceLua + `
local log, position, keep = ARGV[1], tonumber(ARGV[2]), tonumber(ARGV[3])
local now, all, behind = now_ms(), redis.call('HGETALL', KEYS[1]), {}
for i = 1, #all, 2 do
  local ends, acked, of = string.match(all[i + 1], '^(%d+) (%d+) (.*)$')
  local left = tonumber(ends) - now
  if left <= -keep then
    redis.call('HDEL', KEYS[1], all[i])
  elseif of ~= log or tonumber(acked) < position then
    behind[#behind + 1] = all[i]
    behind[#behind + 1] = left
  end
end
return behind
`)

// Behind returns the instances that have not applied the log of that identity up to a position:
// those that follow it, and those that have not said so for as long as keep.
func (p Presence) Behind(ctx context.Context, log string, position uint64, keep time.Duration) ([]Behind, error) {
	call := behindScript.Call([]string{p.Key}, log, position, keep.Milliseconds())
	if err := p.Redis.Do(ctx, call); err != nil {
		return nil, err
	}
	reply, err := call.Slice()
	if err != nil {
		return nil, err
	}
	var behind []Behind
	for ; len(reply) >= 2; reply = reply[2:] {
		instance, ok1 := reply[0].(string)
		left, ok2 := reply[1].(int64)
		if !ok1 || !ok2 {
			return nil, errors.New("redis: the list of instances cannot be read")
		}
		behind = append(behind, Behind{instance, time.Duration(left) * time.Millisecond})
	}
	return behind, nil
}
