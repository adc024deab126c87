package session

import (
	"log/slog"
	"time"

	"github.com/headgate/headgate/middleware/store"
)

// Options configures [New]: what a Manager lives with, and the first Settings.
type Options struct {
	// Redis keeps the sessions for all instances that use the same Redis and
	// key prefix. Nil keeps them in this process, for one instance, with the
	// same behaviour until it ends.
	Redis *store.Redis

	// MemoryBytes bounds the sessions kept in this process where Redis is nil.
	// Where it is full, the ones nearest to their end make room. Zero means 64
	// MiB.
	MemoryBytes int64

	// Settings may differ between the generations of a policy: see
	// [Manager.With].
	Settings Settings

	// Logger gets what no request can be told. Nil discards it.
	Logger *slog.Logger

	// Now is the clock; nil is time.Now. Instances' clocks should agree within
	// a second or so. Meant for tests.
	Now func() time.Time
}

const defaultMemoryBytes = 64 << 20
