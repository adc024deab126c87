package session

import (
	"context"
	"crypto/sha256"
	"errors"
	"fmt"
	"time"

	"github.com/redis/go-redis/v9"

	"github.com/headgate/headgate/middleware/store"
)

// redisBackend keeps one string per session and one sorted set per user. They
// lie in different slots of a Cluster, so no step spans both; the order of the
// steps makes that safe: see users.go.
type redisBackend struct {
	redis                 *store.Redis
	createNX, swapXX, add *store.Script
}

func newRedisBackend(r *store.Redis) *redisBackend {
	return &redisBackend{
		redis:    r,
		createNX: store.NewScript(createScript),
		swapXX:   store.NewScript(swapScript),
		add:      store.NewScript(addScript),
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
if redis.call('PTTL', KEYS[1]) < tonumber(ARGV[3]) then
  redis.call('PEXPIRE', KEYS[1], ARGV[3])
end
return redis.call('ZRANGE', KEYS[1], 0, -1)`

func (b *redisBackend) key(handle string) string { return b.redis.Key("session", handle) }

// userKey hashes the user, whose name may be long or hold anything.
func (b *redisBackend) userKey(user string) string {
	sum := sha256.Sum256([]byte(user))
	return b.redis.Key("session-user", encoding.EncodeToString(sum[:]))
}

// do runs commands and folds a command's own error into the result, redis.Nil
// apart: READONLY, OOM or LOADING mean that Redis can't help, not that there is
// nothing.
func (b *redisBackend) do(ctx context.Context, cmds ...redis.Cmder) error {
	return asked(b.redis.Do(ctx, cmds...), cmds...)
}

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

func (b *redisBackend) create(ctx context.Context, handle string, text []byte, ttl time.Duration) error {
	call := b.createNX.Call([]string{b.key(handle)}, text, ttl.Milliseconds())
	if err := b.do(ctx, call); err != nil {
		return err
	}
	switch n, err := call.Int(); {
	case err != nil:
		return unavailable(err)
	case n != 1:
		return errors.New("session: a new handle exists already")
	}
	return nil
}

func (b *redisBackend) swap(ctx context.Context, handle, head string, text []byte, ttl time.Duration) ([]byte, error) {
	call := b.swapXX.Call([]string{b.key(handle)}, head, text, ttl.Milliseconds())
	if err := b.do(ctx, call); err != nil {
		return nil, err
	}
	switch reply := call.Val().(type) {
	case string:
		return []byte(reply), nil
	case int64:
		if reply == 1 {
			return nil, nil
		}
		return nil, ErrEnded
	}
	return nil, unavailable(fmt.Errorf("the reply to a change of a session can't be read: %v", call.Val()))
}

func (b *redisBackend) remove(ctx context.Context, handles ...string) error {
	if len(handles) == 0 {
		return nil
	}
	// One command per key: they may lie in different slots.
	cmds := make([]redis.Cmder, len(handles))
	for i, handle := range handles {
		cmds[i] = redis.NewIntCmd(ctx, "del", b.key(handle))
	}
	return b.do(ctx, cmds...)
}

func (b *redisBackend) index(ctx context.Context, user, handle string, at time.Time, ttl time.Duration) ([]string, error) {
	call := b.add.Call([]string{b.userKey(user)}, handle, at.UnixMilli(), ttl.Milliseconds())
	if err := b.do(ctx, call); err != nil {
		return nil, err
	}
	handles, err := call.StringSlice()
	if err != nil {
		return nil, unavailable(err)
	}
	return handles, nil
}

func (b *redisBackend) indexed(ctx context.Context, user string) ([]string, error) {
	cmd := redis.NewStringSliceCmd(ctx, "zrange", b.userKey(user), 0, -1)
	if err := b.do(ctx, cmd); err != nil {
		return nil, err
	}
	return cmd.Val(), nil
}

func (b *redisBackend) unindex(ctx context.Context, user string, handles ...string) error {
	if len(handles) == 0 {
		return nil
	}
	args := []any{"zrem", b.userKey(user)}
	for _, handle := range handles {
		args = append(args, handle)
	}
	return b.do(ctx, redis.NewIntCmd(ctx, args...))
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
