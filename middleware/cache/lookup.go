package cache

import (
	"context"

	"github.com/headgate/headgate/middleware/cache/internal/fleet"
	"github.com/headgate/headgate/middleware/cache/internal/rfc9111"
)

// mayUseLocal reports whether the local tier may be used: always without Redis,
// else while this instance is known to have every purge that was confirmed.
func (c *Cache) mayUseLocal() bool { return c.fleet == nil || c.fleet.MayUseLocalTier() }

// fromLocal answers from the local tier, if that may be done at once. text is
// that of the request's key.
func (x *request) fromLocal(text []byte) (served bool, err error) {
	c := x.cache
	if !c.mayUseLocal() {
		return false, nil
	}
	res := c.local.get(x.route.rule.Name, x.hash, text)
	if res == nil {
		return false, nil
	}
	x.keyText, x.varies = res.keyText, res.variants[0].Vary
	e, verdict, _ := c.choose(res.variants, &x.want, x.now)
	switch verdict {
	case rfc9111.StaleRefresh:
		x.refresh()
	case rfc9111.Fresh, rfc9111.StaleAllowed:
	case rfc9111.MustValidate:
		x.base = e
		if !e.CoversOutage() || !c.unreachable.Has(x.flightKey()) {
			return false, nil
		}
	default:
		return false, nil
	}
	if len(e.Vary) > 0 {
		e.owned.usedBy(x)
	}
	age := e.Age(x.now)
	x.note(Result{Hit: true, Tier: TierLocal, Stale: verdict != rfc9111.Fresh})
	return true, x.serveEntry(e, age, outcomeStatus{hit: true})
}

// found is what a look at both tiers came to.
type found struct {
	variants      []*entry // everything stored under the key
	entry         *entry   // the one that the request selects, with its body
	verdict       rfc9111.Verdict
	tier          Tier
	otherVariants bool  // something is stored under the key, if not for this request
	version       int64 // of the index in Redis
	redisFailed   bool  // Redis did not answer
}

// serves reports whether the job is done with what was found. A stale entry
// that may be served has been; the job is to replace it.
func (r *found) serves(j *job) bool { return r.verdict == rfc9111.Fresh && !j.mustValidate }

func (r *found) outcome() outcome {
	return outcome{kind: storedFresh, entry: r.entry, tier: r.tier, status: outcomeStatus{hit: true}}
}

// look looks for the job's entry in the local tier, then in Redis. A flight
// looks locally too: another one may have ended since its request did.
func (c *Cache) look(ctx context.Context, j *job) found {
	var r found
	if c.fleet != nil && !c.fleet.MayUseLocalTier() {
		r.redisFailed = c.fleet.Sync(ctx) != nil
	}
	if c.mayUseLocal() {
		if res := c.local.get(j.rule.Name, j.hash, []byte(j.storing.keyText)); res != nil {
			r.variants, r.tier = res.variants, TierLocal
			r.entry, r.verdict, r.otherVariants = c.choose(res.variants, &j.want, c.now())
		}
	}
	if c.fleet == nil || r.redisFailed || r.serves(j) {
		return r
	}
	return c.lookRemote(ctx, j, r)
}

// lookRemote continues a look in Redis, and brings what it finds to the local tier.
func (c *Cache) lookRemote(ctx context.Context, j *job, r found) found {
	entries, version, err := c.shared.load(ctx, j.hash, j.storing.keyText)
	if err != nil {
		r.redisFailed = true
		return r
	}
	r.version = version
	c.catchUpWith(ctx, entries)
	e, verdict, others := c.choose(entries, &j.want, c.now())
	r.otherVariants = r.otherVariants || others
	if e == nil {
		if len(entries) > 0 {
			r.variants = entries
		}
		return r
	}
	if r.entry != nil && r.entry.bodyID == e.bodyID && r.entry.Date.Equal(e.Date) && r.entry.Received.Equal(e.Received) {
		return r // the local one is the same
	}
	if !c.filling.Take(e.body.size) {
		return r
	}
	defer c.filling.Give(e.body.size)
	b, ok, err := c.shared.loadBody(ctx, j.hash, e)
	switch {
	case err != nil:
		r.redisFailed = true
		return r
	case !ok:
		c.shared.remove(ctx, j.hash, e)
		r.version = fleet.AnyVersion
		return r
	}
	e.body = b
	r.variants, r.entry, r.verdict, r.tier = entries, e, verdict, TierRedis
	c.local.put(j.rule.Name, j.hash, e)
	return r
}

// catchUpWith reads the purge log if an entry is from a later position in it
// than this instance has seen.
func (c *Cache) catchUpWith(ctx context.Context, entries []*entry) {
	at := c.purges.Now()
	for _, e := range entries {
		if e.stamp.Log == at.Log && e.stamp.Epoch > at.Epoch {
			_ = c.fleet.Sync(ctx) // a failure shows as a void entry
			return
		}
	}
}
