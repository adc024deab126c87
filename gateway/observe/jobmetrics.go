package observe

import (
	"context"
	"time"

	"github.com/headgate/headgate/middleware/jobs"
	"github.com/prometheus/client_golang/prometheus"
)

// JobMetrics shows what this instance does for queues, and how they stand over all instances. It implements jobs.Observer.
type JobMetrics struct {
	taken    *prometheus.CounterVec   // queue, by
	refused  *prometheus.CounterVec   // queue, reason
	attempts *prometheus.CounterVec   // queue, outcome
	duration *prometheus.HistogramVec // queue
	waited   *prometheus.HistogramVec // queue
	here     *prometheus.GaugeVec     // queue
	expired  *prometheus.CounterVec   // queue
	lost     *prometheus.CounterVec   // queue
}

var jobBuckets = []float64{.01, .05, .1, .25, .5, 1, 2.5, 5, 10, 30, 60, 300, 1800, 7200}

// NewJobMetrics returns the metrics of jobs, which Register makes visible.
func NewJobMetrics() *JobMetrics {
	counter := func(name, help string, labels ...string) *prometheus.CounterVec {
		return prometheus.NewCounterVec(prometheus.CounterOpts{Name: name, Help: help}, labels)
	}
	histogram := func(name, help string) *prometheus.HistogramVec {
		return prometheus.NewHistogramVec(prometheus.HistogramOpts{Name: name, Help: help, Buckets: jobBuckets}, []string{"queue"})
	}
	return &JobMetrics{
		taken:    counter("headgate_jobs_taken_total", "Jobs that this instance has stored, by what they come from: requests of clients and apps, or a schedule.", "queue", "by"),
		refused:  counter("headgate_jobs_refused_total", "Jobs that were not stored: the queue has reached max_bytes (full), the idempotency key stands for another request (conflict), the body is too large (too_large), or Redis does not take it (unavailable).", "queue", "reason"),
		attempts: counter("headgate_job_attempts_total", "Attempts by this instance that have ended, by outcome: done, failed, again (after a pause), unsent (no server could be reached), released (this instance ends), cancelled, lost (the lease had ended).", "queue", "outcome"),
		duration: histogram("headgate_job_attempt_duration_seconds", "Time that attempts took."),
		waited:   histogram("headgate_job_wait_duration_seconds", "Time for which jobs were due before an attempt began."),
		here:     prometheus.NewGaugeVec(prometheus.GaugeOpts{Name: "headgate_job_attempts_running", Help: "Attempts under way in this instance."}, []string{"queue"}),
		expired:  counter("headgate_jobs_expired_total", "Jobs that failed because of max_age while they waited, as this instance found.", "queue"),
		lost:     counter("headgate_job_leases_ended_total", "Jobs that came back because the worker that ran them had not renewed its lease, as this instance found.", "queue"),
	}
}

// Register adds the counters to a registry, and the state of the queues, which stats tells.
func (m *JobMetrics) Register(r *prometheus.Registry, stats func(context.Context) []jobs.Stats) {
	r.MustRegister(m.taken, m.refused, m.attempts, m.duration, m.waited, m.here, m.expired, m.lost, newQueueStates(stats))
}

// Taken implements jobs.Observer.
func (m *JobMetrics) Taken(queue, schedule string) {
	by := "request"
	if schedule != "" {
		by = "schedule"
	}
	m.taken.WithLabelValues(queue, by).Inc()
}

// Refused implements jobs.Observer.
func (m *JobMetrics) Refused(queue string, why jobs.Refusal) {
	m.refused.WithLabelValues(queue, string(why)).Inc()
}

// Began implements jobs.Observer.
func (m *JobMetrics) Began(queue string) { m.here.WithLabelValues(queue).Inc() }

// Ended implements jobs.Observer.
func (m *JobMetrics) Ended(a *jobs.Attempt) {
	m.here.WithLabelValues(a.Job.Queue).Dec()
	m.attempts.WithLabelValues(a.Job.Queue, string(a.Outcome)).Inc()
	m.duration.WithLabelValues(a.Job.Queue).Observe(a.Took.Seconds())
	m.waited.WithLabelValues(a.Job.Queue).Observe(a.Waited.Seconds())
}

// Expired implements jobs.Observer.
func (m *JobMetrics) Expired(queue, _ string) { m.expired.WithLabelValues(queue).Inc() }

// LeasesEnded implements jobs.Observer.
func (m *JobMetrics) LeasesEnded(queue string, n int) {
	m.lost.WithLabelValues(queue).Add(float64(n))
}

// queueStates shows how queues stand when /metrics is asked for.
type queueStates struct {
	stats                       func(context.Context) []jobs.Stats
	jobs, oldest, bytes, paused *prometheus.Desc
}

func newQueueStates(stats func(context.Context) []jobs.Stats) queueStates {
	desc := func(name, help string, labels ...string) *prometheus.Desc {
		return prometheus.NewDesc(name, help, append([]string{"queue"}, labels...), nil)
	}
	return queueStates{
		stats:  stats,
		jobs:   desc("headgate_jobs", "Jobs over all instances, by status: queued (due), waiting (for their time), running, and of those that are over done, failed, cancelled.", "status"),
		oldest: desc("headgate_jobs_oldest_seconds", "How long the first job in the queue has been due; 0 where none is."),
		bytes:  desc("headgate_jobs_bytes", "What jobs count towards max_bytes: those that wait and run (live), and those that are over (kept).", "jobs"),
		paused: desc("headgate_jobs_paused", "1 while an operator has paused the queue."),
	}
}

// Describe implements prometheus.Collector.
func (s queueStates) Describe(ch chan<- *prometheus.Desc) {
	for _, d := range []*prometheus.Desc{s.jobs, s.oldest, s.bytes, s.paused} {
		ch <- d
	}
}

// scrapeWait bounds how long /metrics waits for Redis. What it has not said by then is left out.
const scrapeWait = 2 * time.Second

// Collect implements prometheus.Collector.
func (s queueStates) Collect(ch chan<- prometheus.Metric) {
	ctx, cancel := context.WithTimeout(context.Background(), scrapeWait)
	defer cancel()
	for _, q := range s.stats(ctx) {
		send := func(d *prometheus.Desc, value float64, label ...string) {
			ch <- prometheus.MustNewConstMetric(d, prometheus.GaugeValue, value, append([]string{q.Queue}, label...)...)
		}
		for status, n := range map[jobs.Status]int64{jobs.Queued: q.Queued, jobs.Waiting: q.Waiting, jobs.Running: q.Running, jobs.Done: q.Done, jobs.Failed: q.Failed, jobs.Cancelled: q.Cancelled} {
			send(s.jobs, float64(n), string(status))
		}
		send(s.oldest, q.Oldest.Seconds())
		send(s.bytes, float64(q.Bytes), "live")
		send(s.bytes, float64(q.Kept), "kept")
		send(s.paused, float64(oneIf(q.Paused)))
	}
}
