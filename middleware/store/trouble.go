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

// denial is what a user's rights (ACL) denied to commands on keys of one kind.
type denial struct {
	Trouble
	last time.Time
}

// denialFor is for how long a denial is told after the last one. A probe can't find out whether
// the user has been given the rights.
const denialFor = time.Minute

// Denied returns what the user of the connection may not do with keys that begin with one of the
// kinds, such as "session", as of the last minute; nil: nothing was denied.
func (r *Redis) Denied(kinds ...string) *Trouble {
	r.mu.Lock()
	defer r.mu.Unlock()
	for _, kind := range kinds {
		if d, ok := r.denials[kind]; ok && time.Since(d.last) < denialFor {
			return &d.Trouble
		}
	}
	return nil
}

// denied notes that a command was denied, and logs the first of its kind.
func (r *Redis) denied(c redis.Cmder, err error) {
	kind, _, _ := strings.Cut(strings.TrimPrefix(firstKey(c), r.prefix), ":")
	now := time.Now()
	r.mu.Lock()
	d, known := r.denials[kind]
	known = known && now.Sub(d.last) < denialFor
	if !known {
		d.Trouble = Trouble{Since: now, Err: err}
	}
	d.last = now
	if len(r.denials) < 64 || known {
		r.denials[kind] = d
	}
	r.mu.Unlock()
	if !known {
		r.log.Warn("redis denies a command to the user; see its ACL", "keys", r.prefix+kind, "error", err)
	}
}
