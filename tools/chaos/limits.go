//go:build linux

package main

import (
	"context"
	"fmt"
	"math/rand/v2"
	"slices"
	"sync"
	"time"
)

// The limit of each client of the limited route. It is exact for any span of a window's length.
const (
	limitRequests = 10
	limitWindow   = 2 * time.Second
)

// admission is a request that a limit has admitted at some time between sent and done.
type admission struct {
	id         string
	sent, done time.Time
}

// limitedClients ask for three times what their limit admits, each with an identity of its own.
type limitedClients struct {
	mu      sync.Mutex
	history map[string][]admission // by identity
}

// run asks as one client until ctx ends. Every seven seconds it takes a new identity if fresh is set.
func (l *limitedClients) run(ctx context.Context, c *client, fresh bool) {
	identity, since := c.name, time.Now()
	for pause(ctx, c.rng, limitWindow/limitRequests/3) {
		if fresh && time.Since(since) > 7*time.Second {
			identity, since = fmt.Sprintf("%s-%d", c.name, c.nth), time.Now()
		}
		a := c.do(ctx, request{kind: "limited", method: "GET", path: "/limited", header: map[string]string{"X-Client": identity}})
		if a.err == nil && a.status != 429 && a.page != nil {
			l.mu.Lock()
			if l.history == nil {
				l.history = map[string][]admission{}
			}
			l.history[identity] = append(l.history[identity], admission{a.id, a.sent, a.done})
			l.mu.Unlock()
		}
	}
}

// limitJudge knows what was in force while clients were admitted.
type limitJudge struct {
	limit     int
	window    time.Duration
	outages   []span // of Redis for one gateway at least, by the faults and by the gateways' own counters
	processes []span // of all gateways
}

// judge looks at each span of a window's length that begins with an admission. A request counts for
// it if it was both sent and answered within, so a slow machine never counts one too many.
//
// Without an outage in the span the limit is exact. In an outage each gateway admits up to the limit
// by itself, and so does one that was started meanwhile, which knows nothing of what was before.
// Redis forgets in a failover what its replica did not have: another limit at most.
func (j limitJudge) judge(history []admission, found func(finding, string)) (mostInOutage int) {
	slices.SortFunc(history, func(a, b admission) int { return a.sent.Compare(b.sent) })
	for i, first := range history {
		ends := first.sent.Add(j.window)
		admitted := 0
		for _, a := range history[i:] {
			if a.sent.After(ends) {
				break
			}
			if !a.done.After(ends) {
				admitted++
			}
		}
		outage, failover := j.during(first.sent, ends)
		if !outage {
			found(finding{limitsExact, admitted <= j.limit, fmt.Sprintf("%d of %d admitted within %v", admitted, j.limit, j.window), first.sent}, first.id)
			continue
		}
		gateways := 0
		for _, p := range j.processes {
			if p.overlaps(first.sent, ends) {
				gateways++
			}
		}
		if failover {
			gateways++
		}
		mostInOutage = max(mostInOutage, admitted)
		found(finding{limitsBounded, admitted <= j.limit*gateways, fmt.Sprintf("%d admitted within %v by %d gateways", admitted, j.window, gateways), first.sent}, first.id)
	}
	return mostInOutage
}

func (j limitJudge) during(from, to time.Time) (outage, failover bool) {
	for _, o := range j.outages {
		if o.outage && o.overlaps(from, to) {
			outage, failover = true, failover || o.failover
		}
	}
	return outage, failover
}

// pause waits for about d, and reports false when ctx has ended.
func pause(ctx context.Context, rng *rand.Rand, d time.Duration) bool {
	return sleep(ctx, d/2+time.Duration(rng.Int64N(int64(d))))
}

func sleep(ctx context.Context, d time.Duration) bool {
	select {
	case <-ctx.Done():
		return false
	case <-time.After(d):
		return true
	}
}
