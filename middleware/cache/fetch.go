package cache

import (
	"context"
	"net/http"
	"net/netip"

	"github.com/labstack/echo/v4"

	"github.com/headgate/headgate/middleware/cache/internal/fleet"
	"github.com/headgate/headgate/middleware/cache/internal/rfc9111"
	"github.com/headgate/headgate/middleware/store"
)

// job is what a flight needs of the request that caused it. It holds no
// echo.Context, which is pooled and gone when the request is.
type job struct {
	mode fetchMode
	// follows: the request takes what another instance is fetching, and is otherwise for itself.
	follows bool
	// mustValidate: the client demands that the origin confirms the response,
	// and is obeyed; what is stored and fresh does not do.
	mustValidate bool
	// unstoredDetail is the Cache-Status detail if the response is not stored.
	// Empty: the reason why not.
	unstoredDetail string

	rule          *rule
	origin        echo.HandlerFunc
	errorStatus   func(error) int // MiddlewareOptions.ErrorStatus
	echo          *echo.Echo
	req           *http.Request // a copy of its own
	head          bool          // its method is HEAD
	content       *content      // of a QUERY; else nil
	path          string        // the Echo route and its parameters
	names, values []string

	hash keyHash
	// client is whose request it is, and unlisted whether its query is one that
	// the rule does not list (see clientShares).
	client   netip.Addr
	unlisted bool
	storing  storing
	want     rfc9111.Request
}

// start runs a flight in a goroutine of its own. After Close there are none:
// the flight is over at once, and its request goes to the origin by itself.
func (c *Cache) start(f *flight, j *job) {
	j.content.hold()
	if !c.spawn(func() { defer j.content.release(c.asking); c.run(f, j) }) {
		j.content.release(c.asking)
		c.flights.Remove(f)
		f.Resolve(outcome{kind: nothing}, nil, nil)
		f.End()
		f.Cancel()
	}
}

// run leads a flight: from what is stored, else from the origin.
func (c *Cache) run(f *flight, j *job) {
	stop := context.AfterFunc(c.alive, f.Cancel)
	defer stop()
	defer f.Cancel()
	defer f.End()
	defer c.flights.Remove(f)
	defer f.Resolve(outcome{kind: nothing}, nil, nil) // also after a panic: the requests that wait are always released

	found := c.look(f.Context(), j)
	if found.serves(j) {
		f.Resolve(found.outcome(), nil, nil)
		return
	}
	if found.verdict == rfc9111.StaleRefresh && found.tier == TierRedis && j.mode != refreshStale && !j.mustValidate && c.mayUseLocal() {
		return // it is in the local tier now: served from there while it is refreshed
	}
	var held *fleet.Lease
	if c.fleet != nil && (j.mode.shared() || j.follows) && !found.redisFailed {
		var over bool
		if held, found, over = c.waitTurn(f, j, found); over {
			return
		}
	}
	t := &fetch{c: c, f: f, j: j, base: found.entry, stored: found.variants, otherVariants: found.otherVariants, lease: held}
	t.do()
}

// waitTurn takes the lease on a fetch, or waits for what its holder brings. A job that follows
// takes none. over: the flight is resolved, or is not to ask the origin.
func (c *Cache) waitTurn(f *flight, j *job, seen found) (held *fleet.Lease, now found, over bool) {
	ctx, key := f.Context(), f.Key()
	turn := c.fleet.NewTurn()
	defer turn.Close()
	for {
		lease := c.shared.leaseKey(j, key.class, key.generation, seen.variants)
		var answer fleet.Answer
		if j.mode.shared() {
			held, answer = turn.Acquire(ctx, c.shared.indexKey(j.hash), lease, seen.version)
		} else {
			answer = turn.Peek(ctx, c.shared.indexKey(j.hash), lease, seen.version)
		}
		switch answer {
		case fleet.Granted:
			return held, seen, false
		case fleet.IndexChanged:
			seen = c.look(ctx, j)
			if seen.serves(j) {
				f.Resolve(seen.outcome(), nil, nil)
				return nil, seen, true
			}
			if seen.redisFailed {
				return nil, seen, false
			}
			continue
		case fleet.Opened, fleet.Unknown:
			return nil, seen, false
		case fleet.Held:
			if j.mode == refreshStale {
				return nil, seen, true // its holder refreshes it
			}
		}
		if turn.Wait(ctx) != nil {
			return nil, seen, true
		}
		ctx = store.Afresh(f.Context()) // it has waited for the holder, not for Redis
	}
}
