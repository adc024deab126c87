package observe

import (
	"github.com/headgate/headgate/middleware/ratelimit"
	"github.com/prometheus/client_golang/prometheus"
)

// deniedKeys shows who is denied most. Its labels come from clients, but there are
// never more of them than the limiter's list is long. A key is a digest, but
// for limits by IP, where an operator wants the address.
type deniedKeys struct {
	counters *ratelimit.Counters
	desc     *prometheus.Desc
}

// WatchCounters adds the metric of who is denied most.
func (m *Metrics) WatchCounters(c *ratelimit.Counters) { m.Registry.MustRegister(newDeniedKeys(c)) }

func newDeniedKeys(c *ratelimit.Counters) deniedKeys {
	return deniedKeys{c, prometheus.NewDesc("headgate_limit_top_denied_keys",
		"Denials of late (halved every ten minutes) of the most denied keys; addr is the client's, for limits by IP.",
		[]string{"limit", "key", "addr"}, nil)}
}

// Describe implements prometheus.Collector.
func (d deniedKeys) Describe(ch chan<- *prometheus.Desc) { ch <- d.desc }

// Collect implements prometheus.Collector.
func (d deniedKeys) Collect(ch chan<- prometheus.Metric) {
	for _, k := range d.counters.TopDenied() {
		ch <- prometheus.MustNewConstMetric(d.desc, prometheus.GaugeValue, float64(k.Denials), k.Limit, k.Key, k.Addr)
	}
}
