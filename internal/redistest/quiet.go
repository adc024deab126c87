package redistest

import (
	"context"

	"github.com/redis/go-redis/v9"
)

// Tests stop servers on purpose, and go-redis prints each connection that it fails to
// make then: thousands of lines in which a test's own are lost.
func init() { redis.SetLogger(silence{}) }

type silence struct{}

func (silence) Printf(context.Context, string, ...any) {}
