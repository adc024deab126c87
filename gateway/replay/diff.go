package replay

import (
	"cmp"
	"slices"
	"strconv"
)

// differ compares what two policies do with each request.
type differ struct {
	before, after               *tally
	newlyDenied, noLongerDenied side
	rerouted                    map[[2]string]int64
	changed                     int64 // requests on which the two differ in anything
}

// side counts the requests that one policy denies and the other does not. tally is the denying policy's.
type side struct {
	tally    *tally
	requests int64
	matrix   map[cell]int64
}

func newDiffer(before, after *tally) *differ {
	return &differ{
		before: before, after: after,
		newlyDenied:    side{tally: after, matrix: make(map[cell]int64)},
		noLongerDenied: side{tally: before, matrix: make(map[cell]int64)},
		rerouted:       make(map[[2]string]int64),
	}
}

// add compares two verdicts on one request. The client is nil where there are too many to tell apart.
func (d *differ) add(old, new *verdict, c *client) {
	from, to := d.place(d.before, old), d.place(d.after, new)
	if from == to && old.outcome == new.outcome && old.cache == new.cache && (old.dryRun < 0) == (new.dryRun < 0) {
		return
	}
	d.changed++
	switch {
	case new.outcome == denied && old.outcome != denied:
		d.newlyDenied.add(new)
		c.change(0)
	case old.outcome == denied && new.outcome != denied:
		d.noLongerDenied.add(old)
		c.change(1)
	}
	if from != to {
		d.rerouted[[2]string{from, to}]++ // bounded by the number of pairs of routes
	}
}

func (s *side) add(v *verdict) {
	s.requests++
	s.matrix[cell{v.limit, v.route}]++
}

// change counts a request that only one policy denies: side 0 is the new one, 1 the old one.
func (c *client) change(side int) {
	if c != nil {
		c.changed[side]++
		c.touchedByDiff = true
	}
}

// place is the name of the route that takes a request, or the status that it gets without one; * is OPTIONS *.
func (d *differ) place(t *tally, v *verdict) string {
	if v.route >= 0 {
		return t.routes[v.route].Name
	}
	if v.outcome == passed {
		return "*"
	}
	return strconv.Itoa(statusOf(v.outcome))
}

func (d *differ) result() *Diff {
	r := &Diff{
		NewlyDenied:    d.side(&d.newlyDenied, 0),
		NoLongerDenied: d.side(&d.noLongerDenied, 1),
		Same:           d.changed == 0,
		ClientsAtLeast: d.after.clients.dropped,
	}
	for k, n := range d.rerouted {
		r.OtherRoute = append(r.OtherRoute, Rerouted{k[0], k[1], n})
	}
	slices.SortFunc(r.OtherRoute, func(a, b Rerouted) int {
		return cmp.Or(cmp.Compare(b.Requests, a.Requests), cmp.Compare(a.From, b.From), cmp.Compare(a.To, b.To))
	})
	r.OtherRoute = r.OtherRoute[:min(len(r.OtherRoute), d.after.top)]
	before, after := d.before.cacheResult(), d.after.cacheResult()
	if before == nil {
		before = &CacheEstimate{}
	}
	if after == nil {
		after = &CacheEstimate{}
	}
	r.CacheHits = after.Hits - before.Hits
	r.OriginSaved = after.Saved() - before.Saved()
	return r
}

func (d *differ) side(s *side, which int) DiffSide {
	r := DiffSide{Requests: s.requests}
	limits, routes := map[int]int64{}, map[int]int64{}
	for c, n := range s.matrix {
		limits[c.limit] += n
		routes[c.route] += n
	}
	for i, n := range limits {
		r.ByLimit = append(r.ByLimit, LimitDenied{s.tally.engine.limits[i], n})
	}
	slices.SortFunc(r.ByLimit, byDenials)
	for i, n := range routes {
		r.ByRoute = append(r.ByRoute, RouteDenied{s.tally.routeName(i), n})
	}
	slices.SortFunc(r.ByRoute, func(a, b RouteDenied) int {
		return cmp.Or(cmp.Compare(b.Denied, a.Denied), cmp.Compare(a.Route, b.Route))
	})
	by := func(c *client) int64 { return c.changed[which] }
	for _, c := range d.after.clients.all {
		if by(c) > 0 {
			r.Clients++
		}
	}
	for _, c := range d.after.clients.top(d.after.top, by) {
		r.Top = append(r.Top, DiffClient{d.after.nameOf(c.key), by(c), c.looksLikeBot()})
	}
	return r
}
