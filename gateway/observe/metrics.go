package observe

import (
	"strconv"
	"time"

	"github.com/headgate/headgate/internal/httpx"
	"github.com/headgate/headgate/middleware/ratelimit"
	"github.com/headgate/headgate/middleware/store"
	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/collectors"
)

// Metrics is everything that /metrics shows. No label takes a value that a
// client chooses, so the number of series is bounded by the policy.
type Metrics struct {
	Registry *prometheus.Registry // what /metrics gathers from

	requests   *series[answered, prometheus.Counter]
	duration   *series[string, prometheus.Observer] // by route
	InFlight   prometheus.Gauge                     // requests being answered now
	LogDropped prometheus.Counter                   // access log lines that were lost

	DeniedNetwork      prometheus.Counter // requests from networks that the policy denies
	BlockedNetwork     prometheus.Counter // requests from networks that operators have blocked
	UntrustedForwarded prometheus.Counter // requests whose peer names a client and is not trusted

	decisions    *series[decided, prometheus.Counter]
	dropped      *series[string, prometheus.Counter] // by limit
	checks       prometheus.Histogram
	checksFailed prometheus.Counter
	limitWaiting prometheus.Gauge
	limitWaits   *prometheus.CounterVec // limit, outcome
	attempts     *series[attempted, prometheus.Counter]
	attemptTime  *series[string, prometheus.Observer] // by upstream

	compressed      *series[httpx.Coding, prometheus.Counter]
	compressedBytes *series[httpx.Coding, prometheus.Counter] // as they were sent
	identityBytes   *series[httpx.Coding, prometheus.Counter] // before

	waiting      *series[string, prometheus.Gauge] // by upstream
	waitsRefused *prometheus.CounterVec            // upstream, reason

	reloads      *prometheus.CounterVec // result
	reloadFailed prometheus.Gauge
	policyLoaded prometheus.Gauge
}

// The labels of counters that each request counts in.
type (
	answered struct {
		route, method string
		status        int // 0: none that HTTP knows
	}
	decided struct {
		limit  string
		event  ratelimit.Event
		source ratelimit.Source
	}
	attempted struct{ upstream, server, result string }
)

// NewMetrics returns the metrics of one gateway, with a registry of their own.
func NewMetrics(version string) *Metrics {
	requests := prometheus.NewCounterVec(prometheus.CounterOpts{
		Name: "headgate_requests_total",
		Help: "Requests answered, by route, method and status.",
	}, []string{"route", "method", "status"})
	duration := prometheus.NewHistogramVec(prometheus.HistogramOpts{
		Name:    "headgate_request_duration_seconds",
		Help:    "Time from a request's arrival to the end of its response.",
		Buckets: []float64{.0005, .001, .0025, .005, .01, .025, .05, .1, .25, .5, 1, 2.5, 5, 10, 30},
	}, []string{"route"})
	decisions := prometheus.NewCounterVec(prometheus.CounterOpts{
		Name: "headgate_limit_decisions_total",
		Help: "Decisions by limit, outcome (admitted, denied, dry_run_denied, error) and who decided (redis, memory, local while Redis is away, deny_cache, wait where it joined others that waited, policy where the limit admits none).",
	}, []string{"limit", "outcome", "source"})
	dropped := prometheus.NewCounterVec(prometheus.CounterOpts{
		Name: "headgate_limit_counters_dropped_total",
		Help: "Counters and bans that this instance dropped while they still counted, by limit, as memory.counters was used up: their clients start afresh.",
	}, []string{"limit"})
	attempts := prometheus.NewCounterVec(prometheus.CounterOpts{
		Name: "headgate_upstream_attempts_total",
		Help: "Attempts at app servers, by result: ok, or what kept the server's answer from being passed on.",
	}, []string{"upstream", "server", "result"})
	attemptTime := prometheus.NewHistogramVec(prometheus.HistogramOpts{
		Name:    "headgate_upstream_header_duration_seconds",
		Help:    "Time from choosing an app server to its response's header.",
		Buckets: []float64{.0005, .001, .0025, .005, .01, .025, .05, .1, .25, .5, 1, 2.5, 5, 10, 30},
	}, []string{"upstream"})
	waiting := prometheus.NewGaugeVec(prometheus.GaugeOpts{
		Name: "headgate_upstream_waiting_requests",
		Help: "Requests that wait because every app server has max_connections in flight.",
	}, []string{"upstream"})
	deniedNetworks := prometheus.NewCounterVec(prometheus.CounterOpts{
		Name: "headgate_denied_network_requests_total",
		Help: "Requests answered 403 because the client's address is in a network of server.deny (by=deny), or in one that is blocked (by=block).",
	}, []string{"by"})
	compressed := prometheus.NewCounterVec(prometheus.CounterOpts{
		Name: "headgate_compressed_responses_total",
		Help: "Responses that the gateway compressed, or sent a compressed copy of, by encoding (br, zstd, gzip).",
	}, []string{"encoding"})
	compressedBytes := prometheus.NewCounterVec(prometheus.CounterOpts{
		Name: "headgate_compressed_bytes_total",
		Help: "Bytes of the bodies of those responses, before they were compressed (when=before) and as they were sent (when=after).",
	}, []string{"encoding", "when"})
	m := &Metrics{
		Registry: prometheus.NewRegistry(),
		requests: newSeries(func(a answered) prometheus.Counter {
			return requests.WithLabelValues(a.route, a.method, statusLabel(a.status))
		}),
		duration: newSeries(func(route string) prometheus.Observer { return duration.WithLabelValues(route) }),
		decisions: newSeries(func(d decided) prometheus.Counter {
			return decisions.WithLabelValues(d.limit, string(d.event), string(d.source))
		}),
		dropped: newSeries(func(limit string) prometheus.Counter { return dropped.WithLabelValues(limit) }),
		attempts: newSeries(func(a attempted) prometheus.Counter {
			return attempts.WithLabelValues(a.upstream, a.server, a.result)
		}),
		attemptTime: newSeries(func(upstream string) prometheus.Observer { return attemptTime.WithLabelValues(upstream) }),
		compressed:  newSeries(func(c httpx.Coding) prometheus.Counter { return compressed.WithLabelValues(c.String()) }),
		identityBytes: newSeries(func(c httpx.Coding) prometheus.Counter {
			return compressedBytes.WithLabelValues(c.String(), "before")
		}),
		compressedBytes: newSeries(func(c httpx.Coding) prometheus.Counter {
			return compressedBytes.WithLabelValues(c.String(), "after")
		}),
		waiting: newSeries(func(upstream string) prometheus.Gauge { return waiting.WithLabelValues(upstream) }),
		waitsRefused: prometheus.NewCounterVec(prometheus.CounterOpts{
			Name: "headgate_upstream_waits_refused_total",
			Help: "Requests refused because every app server had max_connections in flight: too many waited already (full), or they waited too long (timeout).",
		}, []string{"upstream", "reason"}),
		InFlight: prometheus.NewGauge(prometheus.GaugeOpts{
			Name: "headgate_requests_in_flight",
			Help: "Requests being answered now.",
		}),
		DeniedNetwork:  deniedNetworks.WithLabelValues("deny"),
		BlockedNetwork: deniedNetworks.WithLabelValues("block"),
		UntrustedForwarded: prometheus.NewCounter(prometheus.CounterOpts{
			Name: "headgate_untrusted_forwarded_total",
			Help: "Requests with X-Forwarded-For or Forwarded from a peer that is not in trusted_proxies; behind a proxy that is missing there, all clients share one limit.",
		}),
		LogDropped: prometheus.NewCounter(prometheus.CounterOpts{
			Name: "headgate_access_log_dropped_lines_total",
			Help: "Access log lines that were lost: they could not be written (a full disk), or not fast enough.",
		}),
		checks: prometheus.NewHistogram(prometheus.HistogramOpts{
			Name:    "headgate_limit_check_duration_seconds",
			Help:    "Time that checking a request's limits in Redis took.",
			Buckets: []float64{.0001, .00025, .0005, .001, .0025, .005, .01, .025, .05, .1},
		}),
		checksFailed: prometheus.NewCounter(prometheus.CounterOpts{
			Name: "headgate_limit_check_errors_total",
			Help: "Checks of limits that Redis did not answer.",
		}),
		limitWaiting: prometheus.NewGauge(prometheus.GaugeOpts{
			Name: "headgate_limit_waiting_requests",
			Help: "Requests that wait because a limit that counts by the answer has as many without an answer as it admits.",
		}),
		limitWaits: prometheus.NewCounterVec(prometheus.CounterOpts{
			Name: "headgate_limit_waits_total",
			Help: "Requests that have waited for the answers to others, by limit and outcome: admitted, denied (those counted), timeout (after 5 s), full (too many waited already), left (the client disconnected), shutdown.",
		}, []string{"limit", "outcome"}),
		reloads: prometheus.NewCounterVec(prometheus.CounterOpts{
			Name: "headgate_policy_reloads_total",
			Help: "Changes of the running policy, by result: ok or error. A reload of files that have not changed is not counted.",
		}, []string{"result"}),
		reloadFailed: prometheus.NewGauge(prometheus.GaugeOpts{
			Name: "headgate_policy_last_reload_failed",
			Help: "1 while the last attempt to load a policy failed and the one before it runs on.",
		}),
		policyLoaded: prometheus.NewGauge(prometheus.GaugeOpts{
			Name: "headgate_policy_loaded_timestamp_seconds",
			Help: "When the running policy was loaded.",
		}),
	}
	info := prometheus.NewGauge(prometheus.GaugeOpts{
		Name:        "headgate_build_info",
		Help:        "Always 1; the version is in the label.",
		ConstLabels: prometheus.Labels{"version": version},
	})
	info.Set(1)
	m.Registry.MustRegister(requests, duration, m.InFlight, m.LogDropped, deniedNetworks, m.UntrustedForwarded,
		decisions, dropped, m.checks, m.checksFailed, m.limitWaiting, m.limitWaits, attempts, attemptTime, waiting, m.waitsRefused,
		compressed, compressedBytes,
		m.reloads, m.reloadFailed, m.policyLoaded, info,
		collectors.NewGoCollector(), collectors.NewProcessCollector(collectors.ProcessCollectorOpts{}))
	return m
}

// WatchBlocks adds the metric of how many blocks are in force.
func (m *Metrics) WatchBlocks(inForce func() int) {
	m.Registry.MustRegister(prometheus.NewGaugeFunc(prometheus.GaugeOpts{
		Name: "headgate_blocks",
		Help: "Networks that operators have blocked.",
	}, func() float64 { return float64(inForce()) }))
}

// WatchRedis adds the metrics of the connections to Redis.
func (m *Metrics) WatchRedis(r *store.Connections) {
	m.Registry.MustRegister(
		prometheus.NewGaugeFunc(prometheus.GaugeOpts{
			Name: "headgate_redis_available",
			Help: "1 while Redis answers all features, 0 while a breaker is open.",
		}, func() float64 {
			if r.Available() {
				return 1
			}
			return 0
		}),
		prometheus.NewCounterFunc(prometheus.CounterOpts{
			Name: "headgate_redis_pipelines_total",
			Help: "Round trips to Redis; one may carry the commands of many requests.",
		}, func() float64 { return float64(r.RoundTrips()) }),
	)
	for _, feature := range []string{"limits", "sessions", "cache"} {
		m.watchFeature(r, feature)
	}
}

// WatchJobsRedis adds the metric of whether jobs have all of their Redis.
func (m *Metrics) WatchJobsRedis(r *store.Connections) { m.watchFeature(r, "jobs") }

// watchFeature adds the metric of whether a feature has all of its Redis.
func (m *Metrics) watchFeature(r *store.Connections, feature string) {
	m.Registry.MustRegister(prometheus.NewGaugeFunc(prometheus.GaugeOpts{
		Name:        "headgate_redis_feature_available",
		Help:        "1 while a feature has all of its Redis, by feature: limits, sessions, cache, jobs (where the policy has queues). 0 while it is away or refuses writes.",
		ConstLabels: prometheus.Labels{"feature": feature},
	}, func() float64 {
		for _, f := range r.Features() {
			if f.Name == feature && (f.Away != nil || f.RefusesWrites != nil) {
				return 0
			}
		}
		return 1
	}))
}

// Request counts one finished request. route is "" where none fitted.
func (m *Metrics) Request(route, method string, status int, took time.Duration) {
	m.Count(route, method, status)
	m.duration.of(route).Observe(took.Seconds())
}

// Compressed counts a response, if it was sent in a coding: before and sent are the bytes of its body.
func (m *Metrics) Compressed(c httpx.Coding, before, sent int64) {
	if c == httpx.Identity {
		return
	}
	m.compressed.of(c).Inc()
	m.identityBytes.of(c).Add(float64(before))
	m.compressedBytes.of(c).Add(float64(sent))
}

// PolicyLoaded notes that a policy has begun to run.
func (m *Metrics) PolicyLoaded() { m.policyLoaded.SetToCurrentTime() }

// Reloaded counts a policy that was loaded again and runs.
func (m *Metrics) Reloaded() { m.reloads.WithLabelValues("ok").Inc() }

// ReloadFailed counts a policy that was loaded again and can't run.
func (m *Metrics) ReloadFailed() { m.reloads.WithLabelValues("error").Inc() }

// PolicyLoadable shows whether the policy's files can run.
func (m *Metrics) PolicyLoadable(yes bool) {
	if yes {
		m.reloadFailed.Set(0)
	} else {
		m.reloadFailed.Set(1)
	}
}

// Count counts one response without its time: of a request that the listener refused before it became one.
func (m *Metrics) Count(route, method string, status int) {
	if !isStatus(status) {
		status = 0 // or else an app could choose from more labels than there are statuses
	}
	m.requests.of(answered{route, MethodLabel(method), status}).Inc()
}

// MethodLabel is the method, or "other" for one that HTTP does not define: clients can make up any number of them.
func MethodLabel(method string) string {
	if httpx.IsStandardMethod(method) {
		return method
	}
	return "other"
}

func isStatus(status int) bool { return 100 <= status && status <= 599 }

func statusLabel(status int) string {
	if !isStatus(status) {
		return "other"
	}
	return strconv.Itoa(status)
}
