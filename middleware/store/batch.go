package store

import (
	"context"

	"github.com/redis/go-redis/v9"
)

// Batch gathers the commands of one request that can travel together, so that
// a session and the limits that follow it cost one round trip: the first
// middleware adds its command, and the next one sends both.
//
// The zero Batch is not usable; [Redis.NewBatch] makes one. A Batch belongs to
// one request and is not safe for concurrent use.
type Batch struct {
	redis *Redis
	held  []redis.Cmder
	err   error
}

// NewBatch returns an empty Batch, whose commands go to r.
func (r *Redis) NewBatch() *Batch { return &Batch{redis: r} }

// Add holds commands back until the next Send.
func (b *Batch) Add(cmds ...redis.Cmder) { b.held = append(b.held, cmds...) }

// Pending reports whether commands are held that no Send has sent yet.
func (b *Batch) Pending() bool { return len(b.held) > 0 }

// Send sends what is held and cmds in one round trip and waits for the replies.
// With nothing held and no cmds it does nothing. Its error is that of
// [Redis.Do] and applies to all of the commands.
func (b *Batch) Send(ctx context.Context, cmds ...redis.Cmder) error {
	if len(b.held) > 0 {
		cmds = append(b.held, cmds...)
		b.held = nil
	}
	if len(cmds) == 0 {
		return nil
	}
	err := b.redis.Do(ctx, cmds...)
	if b.err == nil {
		b.err = err
	}
	return err
}

// Err returns the first error of Send. A middleware whose command was sent by
// another one learns here whether it may read the reply: after an error, no command of the
// batch may be read.
func (b *Batch) Err() error { return b.err }
