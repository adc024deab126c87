package observe

import (
	"github.com/headgate/headgate/middleware/proxy"
	"github.com/prometheus/client_golang/prometheus"
)

// upstreamServers shows each app server as it is when /metrics is asked for. A server whose URL has a name is shown for each address
// that the name has then, at most 256; the series of an address end as it leaves. The address is empty where the URL has one itself.
type upstreamServers struct {
	status                                        func() map[string][]proxy.ServerStatus
	healthy, draining, active, requests, failures *prometheus.Desc
}

// WatchUpstreams adds the metrics of app servers. status returns them by upstream; no upstream may have one URL and address twice.
func (m *Metrics) WatchUpstreams(status func() map[string][]proxy.ServerStatus) {
	m.Registry.MustRegister(newUpstreamServers(status))
}

func newUpstreamServers(status func() map[string][]proxy.ServerStatus) upstreamServers {
	desc := func(name, help string) *prometheus.Desc {
		return prometheus.NewDesc("headgate_upstream_server_"+name, help, []string{"upstream", "server", "address"}, nil)
	}
	return upstreamServers{
		status:   status,
		healthy:  desc("healthy", "1 while an app server is healthy, 0 while it fails health checks, is ejected, or refuses connections."),
		draining: desc("draining", "1 while an app server gets no new requests, by its weight or because an operator has drained it."),
		active:   desc("active_requests", "Requests in flight at an app server, upgraded connections included."),
		requests: desc("attempts_total", "Attempts at an app server since its address is known."),
		failures: desc("failures_total", "Attempts at an app server that failed, other than by the client's fault."),
	}
}

// Describe implements prometheus.Collector.
func (s upstreamServers) Describe(ch chan<- *prometheus.Desc) {
	for _, d := range []*prometheus.Desc{s.healthy, s.draining, s.active, s.requests, s.failures} {
		ch <- d
	}
}

// Collect implements prometheus.Collector.
func (s upstreamServers) Collect(ch chan<- prometheus.Metric) {
	for upstream, servers := range s.status() {
		for _, server := range servers {
			send := func(d *prometheus.Desc, kind prometheus.ValueType, value int64) {
				ch <- prometheus.MustNewConstMetric(d, kind, float64(value), upstream, server.URL, server.Address)
			}
			send(s.healthy, prometheus.GaugeValue, oneIf(server.Healthy))
			send(s.draining, prometheus.GaugeValue, oneIf(server.State == proxy.StateDraining))
			send(s.active, prometheus.GaugeValue, server.Active)
			send(s.requests, prometheus.CounterValue, server.Requests)
			send(s.failures, prometheus.CounterValue, server.Failures)
		}
	}
}

func oneIf(b bool) int64 {
	if b {
		return 1
	}
	return 0
}
