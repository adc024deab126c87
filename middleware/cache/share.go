package cache

import (
	"net/netip"
	"time"

	"github.com/headgate/headgate/internal/boundedmap"
	"github.com/headgate/headgate/middleware/clientip"
)

// clientShares bounds what one client may add to the cache by queries that the
// rule does not list: any client can make as many of them as it likes. What a
// client has added counts until it expires. It is safe for concurrent use.
type clientShares struct {
	added *boundedmap.Map[netip.Addr, addedBytes]
	now   func() time.Time
	most  func() int64
}

const (
	// sharePart is which part of the cache one client may fill.
	sharePart = 16

	// shareBytes bounds the memory for clients. When it is full, those are
	// forgotten first whose responses expire first.
	shareBytes = 1 << 20
)

// addedBytes is what a client has added, by when it expires.
type addedBytes [4]struct {
	ends  int64 // seconds since 1970
	bytes int64
}

func newClientShares(now func() time.Time, most func() int64) *clientShares {
	return &clientShares{boundedmap.New[netip.Addr, addedBytes](boundedmap.Options{MaxBytes: shareBytes}), now, most}
}

// usedUp reports whether a client may not add n bytes at present; 0: whether it
// may add hardly any.
func (s *clientShares) usedUp(client netip.Addr, n int64) bool {
	now := s.now()
	added, _ := s.added.Get(client, now)
	return s.exceeds(added.live(now), n)
}

// exceeds: the first response of a client may be added, however large. A share
// is used up when a 64th is left, so that it is known of small responses before
// their length is.
func (s *clientShares) exceeds(held, n int64) bool {
	most := s.most()
	return held > 0 && held+max(n, most/64) > most
}

// add counts n bytes that the client adds for a while, if they are within its
// share.
func (s *clientShares) add(client netip.Addr, n int64, keep time.Duration) (ok bool) {
	now := s.now()
	s.added.Update(client, now, func(added addedBytes, _ bool) (addedBytes, int, time.Time, bool) {
		if ok = !s.exceeds(added.live(now), n); ok {
			added.put(now, keep, n)
		}
		return added, 0, added.last(), true
	})
	return ok
}

func (a *addedBytes) live(now time.Time) (n int64) {
	for i := range a {
		if a[i].ends > now.Unix() {
			n += a[i].bytes
		}
	}
	return n
}

func (a *addedBytes) last() time.Time {
	ends := int64(0)
	for i := range a {
		ends = max(ends, a[i].ends)
	}
	return time.Unix(ends, 0)
}

// put counts n bytes until they expire, or somewhat longer: their end is
// rounded up by a third of their time at most, and where that leaves too many
// different ones, n bytes count until the latest.
func (a *addedBytes) put(now time.Time, keep time.Duration, n int64) {
	width := int64(1)
	for 2*width*3 <= int64(keep/time.Second) {
		width *= 2
	}
	ends := now.Add(keep).Unix()/width*width + width
	best := -1
	for i := range a {
		switch {
		case a[i].ends == ends:
			a[i].bytes += n
			return
		case a[i].ends <= now.Unix():
			a[i].ends, a[i].bytes = ends, n
			return
		case best < 0 || a[i].ends > a[best].ends:
			best = i
		}
	}
	a[best].bytes += n
	a[best].ends = max(a[best].ends, ends)
}

// client is whose request it is: what the caller says, or else what middleware
// before this one has found (see [clientip.FromContext]), or else the connection's
// address. IPv6 is masked.
func (x *request) client() netip.Addr {
	req := x.c.Request()
	if x.told {
		return x.facts.Client
	}
	if info, ok := clientip.FromContext(req.Context()); ok {
		return info.Bucket
	}
	return x.cache.resolver.Info(req).Bucket
}

// queryUnlisted reports whether the key has a query that the rule does not list: the
// content of a QUERY is never listed.
func (x *request) queryUnlisted() bool {
	if x.content != nil {
		return true
	}
	rule, raw := x.route.rule, x.c.Request().URL.RawQuery
	return rule.Query == nil && raw != "" && len(appendQuery(nil, rule, raw)) > 0
}

// counted reports whether what the fetch brings would count as its client's:
// it adds to the cache, and under a query that the rule does not list.
func (t *fetch) counted() bool {
	return t.j.unlisted && t.base == nil && t.j.client.IsValid()
}

// mayAdd counts an entry as one client's: of the request that caused the fetch,
// or of another that waited for it. So a client whose share is used up does not
// keep out of the cache what others ask for, too.
func (t *fetch) mayAdd(e *entry) bool {
	if !t.counted() {
		return true
	}
	n, keep := e.weight(), e.KeepUntil().Sub(t.c.now())
	for _, client := range append([]netip.Addr{t.j.client}, t.f.Clients()...) {
		if t.c.shares.add(client, n, keep) {
			return true
		}
	}
	t.c.observer.NotStored(t.j.rule.Name, string(reasonClientShare))
	return false
}
