package observe

import (
	"strconv"

	"github.com/headgate/headgate/middleware/cache"
	"github.com/prometheus/client_golang/prometheus"
)

// CacheMetrics shows what the cache does. It implements cache.Observer.
type CacheMetrics struct {
	lookups   *prometheus.CounterVec // rule, result, reason
	requests  *series[lookup, prometheus.Counter]
	collapsed *prometheus.CounterVec // rule
	unstored  *prometheus.CounterVec // rule, reason
	stored    *prometheus.CounterVec // rule
	bytes     *prometheus.CounterVec // rule
	encoded   *prometheus.CounterVec // rule, encoding
	purges    *prometheus.CounterVec // kind, soft
	evictions prometheus.Counter
}

// lookup is the labels of what the cache made of a request.
type lookup struct{ rule, result, reason string }

// NewCacheMetrics returns the cache's metrics, which Register makes visible.
func NewCacheMetrics() *CacheMetrics {
	counter := func(name, help string, labels ...string) *prometheus.CounterVec {
		return prometheus.NewCounterVec(prometheus.CounterOpts{Name: name, Help: help}, labels)
	}
	lookups := counter("headgate_cache_requests_total",
		"Requests on cached routes, by result (hit, stale, miss) and for hits the tier, for misses the reason.", "rule", "result", "reason")
	return &CacheMetrics{
		lookups: lookups,
		requests: newSeries(func(l lookup) prometheus.Counter {
			return lookups.WithLabelValues(l.rule, l.result, l.reason)
		}),
		collapsed: counter("headgate_cache_collapsed_total", "Requests answered by a fetch that another request had begun.", "rule"),
		unstored:  counter("headgate_cache_not_stored_total", "Answers of app servers on cached routes that were not stored, by the reason, which Cache-Status has, too. With over-cache-bytes they were, but by this instance alone: what the cache keeps in Redis has reached redis.cache_bytes. With client-share one client has added its 16th of the cache by queries that no query: lists.", "rule", "reason"),
		stored:    counter("headgate_cache_stored_total", "Responses stored.", "rule"),
		bytes:     counter("headgate_cache_stored_bytes_total", "Bytes of the bodies of stored responses.", "rule"),
		encoded:   counter("headgate_cache_encodings_total", "Copies of stored bodies that were compressed, by rule and encoding (br, zstd, gzip).", "rule", "encoding"),
		purges:    counter("headgate_cache_purges_total", "Purges that this instance began.", "kind", "soft"),
		evictions: prometheus.NewCounter(prometheus.CounterOpts{
			Name: "headgate_cache_evictions_total",
			Help: "Entries that the local tier gave up for want of room.",
		}),
	}
}

// Register adds the counters to a registry, and gauges of the cache's state, which stats tells.
func (m *CacheMetrics) Register(r *prometheus.Registry, stats func() cache.Stats) {
	gauge := func(name, help string, value func(cache.Stats) float64) prometheus.Collector {
		return prometheus.NewGaugeFunc(prometheus.GaugeOpts{Name: name, Help: help}, func() float64 { return value(stats()) })
	}
	r.MustRegister(m.lookups, m.collapsed, m.unstored, m.stored, m.bytes, m.encoded, m.purges, m.evictions,
		gauge("headgate_cache_local_entries", "Resources in the local tier.", func(s cache.Stats) float64 { return float64(s.LocalEntries) }),
		gauge("headgate_cache_local_bytes", "Bytes that the local tier takes.", func(s cache.Stats) float64 { return float64(s.LocalBytes) }),
		gauge("headgate_cache_local_limit_bytes", "The most that it may take: memory.cache.", func(s cache.Stats) float64 { return float64(s.LocalLimit) }),
		gauge("headgate_cache_redis_bytes", "Bytes of Redis' memory that cached responses take, over all instances, as this one knows.", func(s cache.Stats) float64 { return float64(s.RedisBytes) }),
		gauge("headgate_cache_redis_limit_bytes", "The most that they may take: redis.cache_bytes; 0 without Redis.", func(s cache.Stats) float64 { return float64(s.RedisLimit) }),
		gauge("headgate_cache_filling_bytes", "Bytes of responses on their way into the cache.", func(s cache.Stats) float64 { return float64(s.FillingBytes) }),
		gauge("headgate_cache_fetches", "Requests to the app servers under way on behalf of several.", func(s cache.Stats) float64 { return float64(s.Fetches) }),
		gauge("headgate_cache_purge_log_entries", "Tags in the log of purges.", func(s cache.Stats) float64 { return float64(s.PurgeLog) }),
	)
}

// Request implements cache.Observer.
func (m *CacheMetrics) Request(r cache.Result) {
	result, reason := "miss", r.Forward
	switch {
	case r.Stale:
		result, reason = "stale", string(r.Tier)
	case r.Hit:
		result, reason = "hit", string(r.Tier)
	}
	m.requests.of(lookup{r.Rule, result, reason}).Inc()
	if r.Forward != "" && r.Detail != "" {
		m.unstored.WithLabelValues(r.Rule, r.Detail).Inc()
	}
	if r.Collapsed {
		m.collapsed.WithLabelValues(r.Rule).Inc()
	}
}

// Stored implements cache.Observer.
func (m *CacheMetrics) Stored(rule string, bytes int64) {
	m.stored.WithLabelValues(rule).Inc()
	m.bytes.WithLabelValues(rule).Add(float64(bytes))
}

// NotStored implements cache.Observer.
func (m *CacheMetrics) NotStored(rule, reason string) { m.unstored.WithLabelValues(rule, reason).Inc() }

// Encoded implements cache.Observer.
func (m *CacheMetrics) Encoded(rule, coding string, _, _ int64) {
	m.encoded.WithLabelValues(rule, coding).Inc()
}

// Purged implements cache.Observer.
func (m *CacheMetrics) Purged(kind string, soft bool) {
	m.purges.WithLabelValues(kind, strconv.FormatBool(soft)).Inc()
}

// Evicted implements cache.Observer.
func (m *CacheMetrics) Evicted(int64) { m.evictions.Inc() }
