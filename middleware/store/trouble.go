package store

import (
	"context"
	"strings"
	"time"

	"github.com/redis/go-redis/v9"
)

// Trouble is why Redis does not do all that it should, and since when.
type Trouble struct {
	Since time.Time
	Err   error
}

// Away returns why Redis does not answer; nil: it does.
func (r *Redis) Away() *Trouble { return r.away.Load() }

// RefusesWrites returns why Redis takes no writes while it answers reads: it is full (OOM), can't
// save (MISCONF) or has too few replicas (NOREPLICAS). Nil: it takes them, as far as is known.
func (r *Redis) RefusesWrites() *Trouble { return r.refusing.Load() }

// refusals are the first words of the errors with which Redis refuses all writes.
var refusals = []string{"OOM", "MISCONF", "NOREPLICAS"}

// refusal reports whether err, a reply to one command, is about all writes.
func refusal(err error) bool {
	if err == redis.Nil { //nolint:errorlint // never wrapped, and by far the most frequent
		return false
	}
	if startsWith(err, refusals) {
		return true
	}
	text := err.Error() // from within a script, before Redis 7
	return strings.Contains(text, " -OOM ") || strings.Contains(text, " -MISCONF ") || strings.Contains(text, " -NOREPLICAS ")
}

// refused notes that the server of p refuses writes, and asks it until it takes them.
func (r *Redis) refused(p *pipeline, err error) {
	if !r.refusing.CompareAndSwap(nil, &Trouble{Since: time.Now(), Err: err}) {
		return
	}
	r.log.Warn("redis refuses writes", "server", p.name, "error", err)
	r.background(func(ctx context.Context) {
		for {
			select {
			case <-ctx.Done():
				return
			case <-time.After(jittered(500 * time.Millisecond)):
			}
			err := r.pipelines.write(ctx, p)
			if err == nil || replied(err) && !refusal(err) {
				r.refusing.Store(nil)
				r.log.Info("redis takes writes again", "server", p.name)
				return
			}
		}
	})
}
