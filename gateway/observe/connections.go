package observe

import "github.com/prometheus/client_golang/prometheus"

// Connections says how the connections of clients stand with what bounds them.
type Connections struct {
	Open, Max        int
	Refused, GivenUp uint64
}

// WatchConnections adds the metrics of the connections of clients.
func (m *Metrics) WatchConnections(now func() Connections) {
	m.Registry.MustRegister(
		prometheus.NewGaugeFunc(prometheus.GaugeOpts{
			Name: "headgate_connections",
			Help: "Connections of clients, WebSockets included.",
		}, func() float64 { return float64(now().Open) }),
		prometheus.NewGaugeFunc(prometheus.GaugeOpts{
			Name: "headgate_connections_max",
			Help: "How many connections clients may have together, by server.max_connections or by the descriptors that the process may have; 0 is no bound.",
		}, func() float64 { return float64(now().Max) }),
		prometheus.NewCounterFunc(prometheus.CounterOpts{
			Name: "headgate_connections_refused_total",
			Help: "Connections that were closed at once, since headgate_connections_max were open and none of them was idle.",
		}, func() float64 { return float64(now().Refused) }),
		prometheus.NewCounterFunc(prometheus.CounterOpts{
			Name: "headgate_connections_idle_closed_total",
			Help: "Idle connections that were closed early to make room for others, at headgate_connections_max or when the process had no descriptors left.",
		}, func() float64 { return float64(now().GivenUp) }),
	)
}
