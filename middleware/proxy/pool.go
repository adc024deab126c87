package proxy

import "slices"

// pool is one configuration of an upstream: immutable but for what its
// servers know about themselves. A request uses one pool from beginning to
// end.
type pool struct {
	cfg      Config
	members  []member
	balancer *balancer
	stop     func() // ends the health checks
}

// choice is why a server was, or was not, chosen.
type choice int

const (
	chosen     choice = iota
	overloaded        // there are servers, and all of them are full
	exhausted         // there is none that was not tried
)

// stackServers is how many servers are weighed without allocating.
const stackServers = 16

// choose picks a server for a request, takes a place on it, and reports
// whether the request is its trial. first says that this is the request's
// first attempt, trials that it may be put on trial: should it fail, another
// server can have it.
//
// When no server is fit, the first attempt goes to any of them: checks may be
// wrong, and a failing server is better than none. Retries only go to fit
// ones.
func (p *pool) choose(now int64, key uint64, tried []*server, trials bool) (m *member, trial bool, why choice) {
	var onStack [stackServers]candidate
	cs := onStack[:0]
	if len(p.members) > stackServers {
		cs = make([]candidate, 0, len(p.members))
	}
	for {
		cs = cs[:0]
		anyFit, anyFree := false, false
		for i := range p.members {
			c, fit := p.weigh(&p.members[i], now, tried, trials)
			cs = append(cs, c)
			anyFit = anyFit || fit
			anyFree = anyFree || c.weight > 0
		}
		panicking := !anyFit && len(tried) == 0
		if panicking {
			anyFree = p.weighAll(cs)
		}
		switch {
		case !anyFit && !panicking:
			return nil, false, exhausted
		case !anyFree:
			return nil, false, overloaded
		}
		m = &p.members[p.balancer.pick(cs, key)]
		if !m.acquire(p.cfg.MaxConnections) {
			continue // someone else took the last place; look again
		}
		if m.breaker.state(now) != halfOpen {
			return m, false, chosen
		}
		if trial = m.breaker.beginTrial(); trial || panicking {
			return m, trial, chosen
		}
		m.release() // someone else began the trial; look again
	}
}

// weigh says how a server stands in the choice, and whether it is fit: it may
// be fit and yet have no weight, being full.
func (p *pool) weigh(m *member, now int64, tried []*server, trials bool) (c candidate, fit bool) {
	if m.checked.down.Load() || len(tried) > 0 && slices.Contains(tried, m.server) {
		return c, false
	}
	switch m.breaker.state(now) {
	case open:
		return c, false
	case halfOpen:
		// Where no suitable request comes along for as long again as the
		// shortest ejection, any will do.
		if !trials && now < m.breaker.until.Load()+int64(p.cfg.Ejection.For) || m.breaker.trial.Load() {
			return c, false
		}
	}
	c.active = m.active.Load()
	if limit := p.cfg.MaxConnections; limit == 0 || c.active < int64(limit) {
		c.weight = int64(m.weight) * m.warmth(now, p.cfg.SlowStart)
	}
	return c, true
}

// weighAll puts every server into the choice, fit or not, but the full ones;
// it reports whether there is any.
func (p *pool) weighAll(cs []candidate) (anyFree bool) {
	for i := range p.members {
		m := &p.members[i]
		cs[i] = candidate{active: m.active.Load()}
		if limit := p.cfg.MaxConnections; limit == 0 || cs[i].active < int64(limit) {
			cs[i].weight = int64(m.weight) * weightUnit
			anyFree = true
		}
	}
	return anyFree
}

// mayEject reports whether a server may be ejected: another must be left, and
// the share of ejected servers bounded.
func (p *pool) mayEject(s *server, now int64) bool {
	ejected, left := 1, 0
	for i := range p.members {
		m := &p.members[i]
		switch {
		case m.server == s:
		case m.breaker.state(now) != closed:
			ejected++
		case !m.checked.down.Load():
			left++
		}
	}
	return left > 0 && ejected*100 <= max(100, p.cfg.Ejection.MaxPercent*len(p.members))
}
