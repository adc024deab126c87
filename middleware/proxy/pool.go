package proxy

import "slices"

// pool is one configuration of an upstream with its servers. It is immutable,
// but for the servers' health and counters. A request uses one pool from
// beginning to end.
type pool struct {
	given    Config // with its defaults, as Update compares it
	cfg      Config // the same as requests read it: see Config.effective
	members  []member
	balancer *balancer
	sticky   *stickiness // nil unless the balance is Cookie
}

// choice says why a server was, or was not, chosen.
type choice int

const (
	chosen     choice = iota
	overloaded        // every server is at Config.MaxConnections
	exhausted         // every fit server was tried already
)

// stackServers is how many servers are weighed without allocating.
const stackServers = 16

// choose picks a server for an attempt, counts it as in flight there, and
// reports whether the attempt is the trial of a half-open breaker. tried are
// the servers of the request's earlier attempts. trials says that the attempt
// may be a trial, because the request can be retried on another server.
//
// Backups are chosen where no other server is fit, and not because the others are full: then requests wait for those.
//
// When no server is fit, a first attempt may go to any of them: checks may be
// wrong, and a failing server is better than none. A retry goes to a fit server
// only.
func (p *pool) choose(now int64, a *affinity, tried []*server, trials bool) (m *member, trial bool, why choice) {
	var onStack [stackServers]candidate
	cs := onStack[:0]
	if len(p.members) > stackServers {
		cs = make([]candidate, 0, len(p.members))
	}
	for {
		var anyFit, anyFree bool
		cs, anyFit, anyFree = p.weighFit(cs[:0], now, tried, trials)
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
		m = &p.members[p.pick(cs, a)]
		if !m.acquire(p.cfg.MaxConnections) {
			continue // another request took the last place: choose again
		}
		if m.draining.Load() {
			m.release() // it has been drained since it was weighed: once Drain has returned, no request begins there
			continue
		}
		if m.breaker.until.Load() == 0 || m.breaker.state(now) != halfOpen {
			return m, false, chosen
		}
		if trial = m.breaker.beginTrial(); trial || panicking {
			return m, trial, chosen
		}
		m.release() // another request began the trial: choose again
	}
}

// weighFit appends the servers as candidates, of which those have a weight that are fit and not full. It reports whether any is fit, and whether
// any has a weight. Backups have none while another server is fit, full or not.
func (p *pool) weighFit(cs []candidate, now int64, tried []*server, trials bool) (_ []candidate, anyFit, anyFree bool) {
	first, backup := false, false // whether one is fit
	for i := range p.members {
		m := &p.members[i]
		c, fit := p.weigh(m, now, tried, trials)
		cs = append(cs, c)
		first = first || fit && !m.backup
		backup = backup || fit && m.backup
	}
	if first && backup {
		p.exclude(cs, true)
	}
	return cs, first || backup, hasWeight(cs)
}

// exclude takes the weight from the backups, or from all other servers.
func (p *pool) exclude(cs []candidate, backups bool) {
	for i := range cs {
		if p.members[i].backup == backups {
			cs[i].weight = 0
		}
	}
}

func hasWeight(cs []candidate) bool {
	return slices.ContainsFunc(cs, func(c candidate) bool { return c.weight > 0 })
}

// weigh returns the server as a candidate, and whether it is fit. A server that
// is full is fit but has weight zero.
func (p *pool) weigh(m *member, now int64, tried []*server, trials bool) (c candidate, fit bool) {
	if !m.inService() || m.checked.down.Load() || len(tried) > 0 && slices.Contains(tried, m.server) {
		return c, false
	}
	if m.breaker.until.Load() != 0 && !p.mayTry(m, now, trials) {
		return c, false
	}
	c.active = m.active.Load()
	if limit := p.cfg.MaxConnections; limit == 0 || c.active < int64(limit) {
		c.weight = int64(m.weight) * weightUnit
		if m.warmFrom.Load() != 0 {
			c.weight = int64(m.weight) * m.warmth(now, p.cfg.SlowStart)
		}
	}
	return c, true
}

// mayTry reports whether a server that has been ejected may get the request, as a trial.
func (p *pool) mayTry(m *member, now int64, trials bool) bool {
	switch m.breaker.state(now) {
	case open:
		return false
	case halfOpen:
		// If no request that may be a trial arrives for Ejection.For after the
		// ejection ended, any request becomes the trial.
		if !trials && now < m.breaker.until.Load()+int64(p.cfg.Ejection.For) || m.breaker.trial.Load() {
			return false
		}
	}
	return true
}

// weighAll makes every server a candidate that is not full, fit or not, and
// reports whether there is one. Backups are, if all other servers are drained.
func (p *pool) weighAll(cs []candidate) (anyFree bool) {
	for i := range p.members {
		m := &p.members[i]
		cs[i] = candidate{active: m.active.Load()}
		if limit := p.cfg.MaxConnections; m.inService() && (limit == 0 || cs[i].active < int64(limit)) {
			cs[i].weight = int64(m.weight) * weightUnit
		}
	}
	p.exclude(cs, slices.ContainsFunc(p.members, func(m member) bool { return m.inService() && !m.backup }))
	return hasWeight(cs)
}

// drained reports whether every server has been told to get no requests.
func (p *pool) drained() bool {
	return !slices.ContainsFunc(p.members, member.inService)
}

// mayEject reports whether a server may be ejected: at least one other fit
// server must be left.
func (p *pool) mayEject(s *server, now int64) bool {
	return slices.ContainsFunc(p.members, func(m member) bool {
		return m.server != s && m.inService() && m.breaker.state(now) == closed && !m.checked.down.Load()
	})
}

// mayBeHTTP2 reports whether one of the servers may speak HTTP/2.
func (p *pool) mayBeHTTP2() bool {
	switch p.cfg.Protocol {
	case HTTP1:
		return false
	case HTTP2, H2C:
		return true
	}
	for _, m := range p.members {
		if m.server.url.Scheme == "https" {
			return true
		}
	}
	return false
}
