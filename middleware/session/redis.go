package session

import (
	"context"
	"crypto/sha256"
	"errors"
	"fmt"

	"github.com/redis/go-redis/v9"

	"github.com/headgate/headgate/middleware/store"
)

// redisBackend keeps one string per session, and per user one sorted set of
// handles by creation and one hash of when each was last seen, and where it is valid. A user's keys lie in one
// slot of a Cluster, and sessions in others, so no step spans both; the order of the steps
// makes that safe: see users.go.
type redisBackend struct {
	redis                               *store.Redis
	createNX, swapXX, add, listed, mark *store.Script
}

func newRedisBackend(r *store.Redis) *redisBackend {
	return &redisBackend{
		redis:    r,
		createNX: store.NewScript(createScript),
		swapXX:   store.NewScript(swapScript),
		add:      store.NewScript(addScript),
		listed:   store.NewScript(listScript),
		mark:     store.NewScript(retireScript),
	}
}

// createScript is SET NX, except that finding what we were about to write
// counts as having written it.
const createScript = `
local present = redis.call('GET', KEYS[1])
if present then return present == ARGV[1] and 1 or 0 end
redis.call('SET', KEYS[1], ARGV[1], 'PX', ARGV[2])
return 1`

// swapScript writes only over the revision that the change was made from, so
// that no change is lost, and only over something, so that what a logout has
// removed stays away.
const swapScript = `
local present = redis.call('GET', KEYS[1])
if not present then return 0 end
if string.sub(present, 1, #ARGV[1]) ~= ARGV[1] then return present end
redis.call('SET', KEYS[1], ARGV[2], 'XX', 'PX', ARGV[3])
return 1`

// addScript keeps the index for as long as the session that ends last may live.
const addScript = `
redis.call('ZADD', KEYS[1], ARGV[2], ARGV[1])
redis.call('HSET', KEYS[2], ARGV[1], ARGV[3])
for _, key in ipairs(KEYS) do
  if redis.call('PTTL', key) < tonumber(ARGV[4]) then
    redis.call('PEXPIRE', key, ARGV[4])
  end
end
return {redis.call('ZRANGE', KEYS[1], 0, -1, 'WITHSCORES'), redis.call('HGETALL', KEYS[2])}`

// listScript reads the index.
const listScript = `
return {redis.call('ZRANGE', KEYS[1], 0, -1, 'WITHSCORES'), redis.call('HGETALL', KEYS[2])}`

// retireScript changes only what is there, which has an expiry.
const retireScript = `
local seen = redis.call('HGET', KEYS[1], ARGV[1])
if seen then redis.call('HSET', KEYS[1], ARGV[1], (string.gsub(seen, '^%d+', '0'))) end
return 0`

func (b *redisBackend) key(handle string) string { return b.redis.Key("session", handle) }

// userKey hashes the user, whose name may be long or hold anything.
func (b *redisBackend) userKey(user string) string {
	sum := sha256.Sum256([]byte(user))
	return b.redis.Key("session-user", encoding.EncodeToString(sum[:]))
}

// userKeys are the keys of a user's index: the second one's hash tag is the first one.
func (b *redisBackend) userKeys(user string) []string {
	key := b.userKey(user)
	return []string{key, b.redis.Key("session-seen", "{"+key+"}")}
}

// asked folds a command's own error into that of the round trip, redis.Nil
// apart: READONLY, OOM or LOADING mean that Redis can't help, not that there is
// nothing.
func asked(err error, cmds ...redis.Cmder) error {
	if err != nil {
		return unavailable(err)
	}
	for _, cmd := range cmds {
		if err := cmd.Err(); err != nil && !errors.Is(err, redis.Nil) {
			return unavailable(err)
		}
	}
	return nil
}

func unavailable(err error) error {
	return fmt.Errorf("%w: %w", ErrUnavailable, err)
}

type redisFetch struct {
	b     *redisBackend
	batch *store.Batch
	cmds  []redis.Cmder
}

func (b *redisBackend) fetch(batch *store.Batch, handles ...string) fetch {
	f := &redisFetch{b: b, batch: batch, cmds: make([]redis.Cmder, len(handles))}
	for i, handle := range handles {
		f.cmds[i] = redis.NewStringCmd(context.Background(), "get", b.key(handle))
	}
	if batch != nil {
		batch.Add(f.cmds...)
	}
	return f
}

func (f *redisFetch) done(ctx context.Context) ([][]byte, error) {
	var err error
	switch {
	case f.batch == nil:
		err = f.b.redis.Do(ctx, f.cmds...)
	case f.batch.Pending():
		err = f.batch.Send(ctx)
	default:
		err = f.batch.Err()
	}
	if err := asked(err, f.cmds...); err != nil {
		return nil, err
	}
	texts := make([][]byte, len(f.cmds))
	for i, cmd := range f.cmds {
		if text, err := cmd.(*redis.StringCmd).Bytes(); err == nil {
			texts[i] = text
		}
	}
	return texts, nil
}

// gone asks about all of the handles in one command, where their keys lie on one server, and about
// each of them only where some are gone. The commands are large: see [store.Redis.DoLarge].
func (b *redisBackend) gone(ctx context.Context, handles []string) ([]bool, error) {
	gone := make([]bool, len(handles))
	if b.ordered() {
		exist := redis.NewIntCmd(ctx, b.existsOf(handles...)...)
		if err := asked(b.redis.DoLarge(ctx, exist), exist); err != nil {
			return nil, err
		}
		if exist.Val() == int64(len(handles)) {
			return gone, nil
		}
	}
	each := make([]redis.Cmder, len(handles))
	for i, handle := range handles {
		each[i] = redis.NewIntCmd(ctx, b.existsOf(handle)...)
	}
	if err := asked(b.redis.DoLarge(ctx, each...), each...); err != nil {
		return nil, err
	}
	for i := range each {
		gone[i] = each[i].(*redis.IntCmd).Val() == 0
	}
	return gone, nil
}

func (b *redisBackend) existsOf(handles ...string) []any {
	args := make([]any, 1, len(handles)+1)
	args[0] = "exists"
	for _, handle := range handles {
		args = append(args, b.key(handle))
	}
	return args
}

// eviction goes by what Redis says of itself.
func (b *redisBackend) eviction(ctx context.Context) (string, error) {
	facts, err := b.redis.Ask(ctx)
	if err != nil {
		return "", unavailable(err)
	}
	if !facts.Evicts() {
		return "", nil
	}
	return fmt.Sprintf("Redis has maxmemory-policy %s: when its memory is full it may evict live sessions, which logs users out; "+
		"set maxmemory-policy noeviction, or give sessions a Redis of their own", facts.Policy), nil
}
