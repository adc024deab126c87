package session

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"strings"
	"time"

	"github.com/redis/go-redis/v9"

	"github.com/headgate/headgate/middleware/store"
)

// clientKeyPrefix is redisstore's prefix: what follows it is a handle.
const clientKeyPrefix = "session:"

// client is what redisstore takes for Redis. It has no other methods than those
// that redisstore calls.
type client struct {
	redis.UniversalClient
	m *Manager
}

// Ping lets a Manager be made while Redis is away.
func (c *client) Ping(ctx context.Context) *redis.StatusCmd {
	cmd := redis.NewStatusCmd(ctx, "ping")
	cmd.SetVal("PONG")
	return cmd
}

// Get returns the data of the session that Load has read and whose token it has checked.
func (c *client) Get(ctx context.Context, key string) *redis.StringCmd {
	cmd := redis.NewStringCmd(ctx, "get", key)
	rs, _ := ctx.Value(requestKey{}).(*RequestSession)
	if rs == nil || rs.session == nil || clientKeyPrefix+rs.session.Ref != key {
		cmd.SetErr(redis.Nil)
		return cmd
	}
	cmd.SetVal(string(orEmpty(rs.session.Data())))
	return cmd
}

// Set is redisstore's blind SET: for us it creates what is new and merges into
// what is there, never into what has gone.
func (c *client) Set(ctx context.Context, key string, value any, _ time.Duration) *redis.StatusCmd {
	cmd := redis.NewStatusCmd(ctx, "set", key)
	save, _ := ctx.Value(savingKey{}).(*saving)
	text, _ := value.([]byte)
	var after map[string]json.RawMessage
	if err := json.Unmarshal(text, &after); err != nil || save == nil {
		cmd.SetErr(fmt.Errorf("session: a save that did not come through the Manager (%rs)", err))
		return cmd
	}
	handle := strings.TrimPrefix(key, clientKeyPrefix)
	cookie, err := save.request.saveValues(ctx, handle, changes(save.before, after), save.lifetime)
	if err != nil {
		cmd.SetErr(err)
		return cmd
	}
	save.cookie = cookie
	cmd.SetVal("OK")
	return cmd
}

// Del ends the session.
func (c *client) Del(ctx context.Context, keys ...string) *redis.IntCmd {
	cmd := redis.NewIntCmd(ctx, "del")
	save, _ := ctx.Value(savingKey{}).(*saving)
	if save == nil {
		cmd.SetErr(errors.New("session: a deletion that did not come through the Manager"))
		return cmd
	}
	cookie, err := save.request.logout(store.Replicated(context.WithoutCancel(ctx)), LogoutSession)
	if err != nil {
		cmd.SetErr(err)
		return cmd
	}
	save.cookie = cookie
	cmd.SetVal(int64(len(keys)))
	return cmd
}

// Close leaves Redis open: it is shared.
func (c *client) Close() error { return nil }
