package observe

import (
	"time"

	"github.com/headgate/headgate/middleware/proxy"
	"github.com/headgate/headgate/middleware/ratelimit"
)

// What limits and upstreams report while a request is under way.

// Decided implements ratelimit.Observer.
func (m *Metrics) Decided(limit string, event ratelimit.Event, source ratelimit.Source) {
	m.decisions.of(decided{limit, event, source}).Inc()
}

// Dropped implements ratelimit.Observer.
func (m *Metrics) Dropped(limit string) { m.dropped.of(limit).Inc() }

// RoundTrip implements ratelimit.Observer.
func (m *Metrics) RoundTrip(took time.Duration, err error) {
	m.checks.Observe(took.Seconds())
	if err != nil {
		m.checksFailed.Inc()
	}
}

// LimitWait counts the requests that wait for the responses to those that are counted by them.
func (m *Metrics) LimitWait(w ratelimit.Wait) {
	m.limitWaiting.Add(float64(w.Change))
	if w.End != "" {
		m.limitWaits.WithLabelValues(w.Limit, string(w.End)).Inc()
	}
}

// Attempt counts one try at one app server.
func (m *Metrics) Attempt(a proxy.Attempt) {
	result := "ok"
	if a.Kind != "" {
		result = string(a.Kind)
	}
	m.attempts.of(attempted{a.Upstream, a.Server, result}).Inc()
	m.attemptTime.of(a.Upstream).Observe(a.Header.Seconds())
}

// Wait counts the requests that wait for a place on an app server, and those that get none.
func (m *Metrics) Wait(w proxy.Wait) {
	if w.Change != 0 {
		m.waiting.of(w.Upstream).Add(float64(w.Change))
	}
	if w.Refused != "" {
		m.waitsRefused.WithLabelValues(w.Upstream, string(w.Refused)).Inc()
	}
}
