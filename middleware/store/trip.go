package store

import (
	"context"

	"github.com/redis/go-redis/v9"
)

// Trip gathers the commands of one request that can travel together, so that
// a session and the limits that follow it cost one round trip: the first
// middleware adds its command, the next one sends both.
//
// The zero Trip is not usable; [Redis.Trip] makes one. A Trip belongs to one
// request and is not safe for concurrent use.
type Trip struct {
	redis *Redis
	held  []redis.Cmder
	err   error
}

// Trip starts a trip.
func (r *Redis) Trip() *Trip { return &Trip{redis: r} }

// Add holds commands back until the next Send.
func (t *Trip) Add(cmds ...redis.Cmder) { t.held = append(t.held, cmds...) }

// Pending reports whether commands are held that no Send has carried yet.
func (t *Trip) Pending() bool { return len(t.held) > 0 }

// Send sends what is held and cmds in one pipeline and waits for the replies.
// With nothing held and no cmds it does nothing. Its error is that of
// [Redis.Do] and goes for all of them.
func (t *Trip) Send(ctx context.Context, cmds ...redis.Cmder) error {
	if len(t.held) > 0 {
		cmds = append(t.held, cmds...)
		t.held = nil
	}
	if len(cmds) == 0 {
		return nil
	}
	t.err = t.redis.Do(ctx, cmds...)
	return t.err
}

// Err returns the error of the last Send: whoever added a command that another
// sent learns here whether its reply may be read.
func (t *Trip) Err() error { return t.err }
