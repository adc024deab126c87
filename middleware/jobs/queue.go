package jobs

import (
	"time"

	"github.com/headgate/headgate/middleware/problem"
)

// Defaults of a [Queue].
const (
	DefaultConcurrency = 4
	DefaultRetries     = 10
	DefaultFirst       = 2 * time.Second
	DefaultMost        = 10 * time.Minute
	DefaultTimeout     = 5 * time.Minute
	DefaultKeep        = 24 * time.Hour
	DefaultMaxAge      = 24 * time.Hour
	DefaultMaxBody     = 1 << 20
	DefaultMaxBytes    = 256 << 20
)

// Queue is a named queue of jobs. It may be replaced at any time: jobs that wait go by the queue of now.
type Queue struct {
	// In Go a zero field has its default, and a negative Retries means none; a policy's loader turns a written 0 into that.

	// Name is part of every job's ID and of every key in Redis. Required.
	Name string `yaml:"-"`
	// How many of its jobs run at once, over all gateways together. Default 4.
	Concurrency int `yaml:"concurrency"`
	// How many more attempts a job has after its first. An attempt is an answer of the app server, or a request that was sent and got none;
	// a server that can't be reached and a gateway that was killed cost none. Default 10.
	Retries int `yaml:"retries" config:"none"`
	// How long a job waits before its next attempt. Default: {first: 2s, most: 10m}.
	Backoff Backoff `yaml:"backoff"`
	// How long the app server has for the whole answer to one attempt. Default 5m.
	Timeout time.Duration `yaml:"timeout"`
	// How long a job can be asked about when it is over, with its answer, and how long failed jobs can be retried. Default 1d.
	Keep time.Duration `yaml:"keep"`
	// When a job that is not done fails, whatever attempts it has left, counted from when it was to run first. Default 1d.
	MaxAge time.Duration `yaml:"max_age"`
	// The largest request body that is kept for a job, and the most that is kept of its answer's body. Default 1MiB.
	MaxBody int64 `yaml:"max_body" config:"size"`
	// The most memory that the queue's jobs take that wait or run, in Redis over all gateways together; above it new ones are refused with 429
	// and Retry-After. Those that are over have as much again, and the oldest are forgotten before their keep ends where that is too little. Default 256MiB.
	// Hazard: Redis needs more maxmemory than twice what all queues together have; a full Redis refuses new jobs with 503.
	MaxBytes int64 `yaml:"max_bytes" config:"size"`
}

// Backoff is how long a job waits between attempts: First, then twice as long each time, up to Most, each less up to a half at
// random, so that jobs that failed together do not come back together.
type Backoff struct {
	// Before the second attempt. Default 2s.
	First time.Duration `yaml:"first"`
	// At most. A longer Retry-After of the app server's answer is heeded all the same. Default 10m.
	Most time.Duration `yaml:"most"`
}

// SetDefaults fills in what is zero and has a default.
func (q *Queue) SetDefaults() {
	orDefault(&q.Concurrency, DefaultConcurrency)
	orDefault(&q.Retries, DefaultRetries)
	q.Backoff.SetDefaults()
	orDefault(&q.Timeout, DefaultTimeout)
	orDefault(&q.Keep, DefaultKeep)
	orDefault(&q.MaxAge, DefaultMaxAge)
	orDefault(&q.MaxBody, DefaultMaxBody)
	orDefault(&q.MaxBytes, DefaultMaxBytes)
}

// SetDefaults fills in what is zero.
func (b *Backoff) SetDefaults() {
	orDefault(&b.First, DefaultFirst)
	if b.Most == 0 {
		b.Most = max(DefaultMost, b.First)
	}
}

func orDefault[T comparable](field *T, value T) {
	var zero T
	if *field == zero {
		*field = value
	}
}

const (
	maxConcurrency = 10_000
	maxRetries     = 10_000
	longest        = 366 * 24 * time.Hour
	largestBody    = 64 << 20
)

// Validate says everything that is wrong with a queue whose defaults are set.
func (q *Queue) Validate() []problem.Problem {
	var l problem.List
	if !problem.IsName(q.Name) {
		l.Add("name", problem.MendName, "%s can't be the name of a queue", problem.Quote(q.Name))
	}
	problem.Between(&l, "concurrency", q.Concurrency, 1, maxConcurrency)
	if q.Retries > maxRetries {
		l.Add("retries", "choose one from 0 to 10000", "%d is out of bounds", q.Retries)
	}
	l = append(l, problem.Within("backoff", q.Backoff.Validate())...)
	span(&l, "timeout", q.Timeout, time.Millisecond)
	span(&l, "keep", q.Keep, time.Second)
	span(&l, "max_age", q.MaxAge, time.Second)
	problem.Between(&l, "max_body", q.MaxBody, 1, largestBody)
	if q.MaxBytes < q.MaxBody+jobOverhead {
		l.Add("max_bytes", "raise it, or lower max_body", "the queue has no room for one job with a body of max_body")
	}
	if q.Timeout > q.MaxAge {
		l.Warn("timeout", "raise max_age, or lower timeout", "a job is over after max_age, before its first attempt may be")
	}
	return l
}

// Validate says what is wrong with a backoff.
func (b *Backoff) Validate() []problem.Problem {
	var l problem.List
	span(&l, "first", b.First, time.Millisecond)
	span(&l, "most", b.Most, time.Millisecond)
	if b.First > b.Most {
		l.Add("most", "raise it, or lower first", "most is %v, below first, which is %v", b.Most, b.First)
	}
	return l
}

// span adds an error where a duration is out of bounds that Redis and the arithmetic can hold.
func span(l *problem.List, path string, d, least time.Duration) {
	if d < least || d > longest {
		l.Add(path, "choose one from "+least.String()+" to 366d", "%v is out of bounds", d)
	}
}
