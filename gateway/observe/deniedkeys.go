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

// WatchCounters adds the metrics of who is denied most, and of the memory that counters take.
func (m *Metrics) WatchCounters(c *ratelimit.Counters) {
	gauge := func(name, help string, value func() float64) prometheus.Collector {
		return prometheus.NewGaugeFunc(prometheus.GaugeOpts{Name: name, Help: help}, value)
	}
	m.Registry.MustRegister(newDeniedKeys(c),
		gauge("headgate_limit_counters_bytes", "Memory of this instance that counters of limits take.", func() float64 {
			used, _ := c.Memory()
			return float64(used)
		}),
		gauge("headgate_limit_counters_limit_bytes", "The most that they may take: memory.counters.", func() float64 {
			_, limit := c.Memory()
			return float64(limit)
		}))
}

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
