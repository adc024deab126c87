package jobs

import (
	"math"
	"net/http"
	"strconv"
	"strings"
	"time"
)

// Answer is how an attempt ended.
type Answer struct {
	// Status is the app server's status code; 0: it has not answered.
	Status int
	// Header and Body are its answer's. What is not to be kept is left out by the worker.
	Header http.Header
	Body   []byte
	// Truncated: the body was longer than what Body has.
	Truncated bool
	// Sent tells apart the reasons for which there is no answer: the request was sent, at least in part, so that the app server may have
	// done the job. That is an attempt. A server that can't be reached is none.
	Sent bool
	// Unavailable: no server takes requests at present, such as while all are ejected. The queue pauses for a moment.
	Unavailable bool
	// Reason says in a few words why there is no answer, for operators.
	Reason string
}

// verdict is what becomes of a job after an attempt.
type verdict struct {
	status  Status        // Done, Failed or Waiting: once more
	attempt bool          // it counts as an attempt
	front   bool          // it keeps its place in the queue, and its count of losses
	delay   time.Duration // before the next attempt
	slow    time.Duration // before any job of the queue runs
	reason  string
}

// mostPause is how long one answer pauses a queue at most: a mistaken Retry-After of an app server must not stop it for days.
const mostPause = time.Hour

// unavailablePause is how long a queue pauses at most when no server takes requests.
const unavailablePause = 30 * time.Second

// decide is what becomes of a job, whose attempts and losses are those before this answer. Age is since it was to run first,
// jitter is from 0 to below 1.
func (q *Queue) decide(attempts, lost int, age time.Duration, a *Answer, jitter float64) verdict {
	v := verdict{status: Waiting, attempt: a.Status != 0 || a.Sent, reason: a.Reason}
	if a.Status != 0 {
		v.reason = "the app server answered " + strconv.Itoa(a.Status)
	} else if v.reason == "" {
		v.reason = "the app server did not answer"
	}
	tries := lost
	if v.attempt {
		tries = attempts
	}
	pause, asked := q.Backoff.after(tries), retryAfter(a.Header)
	switch {
	case a.Unavailable:
		v.slow = min(max(pause, asked), unavailablePause)
	case a.Status == http.StatusTooManyRequests:
		v.slow = min(max(q.Backoff.First, asked), mostPause)
	}
	switch {
	case a.Status >= 200 && a.Status < 300:
		v.status, v.reason = Done, ""
		return v
	case a.Status != 0 && !again(a.Status):
		v.status = Failed
		return v
	case v.attempt && attempts+1 > max(q.Retries, 0):
		v.status = Failed
		v.reason += ", to the last of " + strconv.Itoa(attempts+1) + " attempts"
		return v
	}
	v.delay = max(pause-time.Duration(jitter*float64(pause)/2), asked)
	if age+v.delay >= q.MaxAge {
		v.status, v.delay = Failed, 0
		v.reason += ", and max_age is over before the next attempt"
	}
	return v
}

// again reports whether a job whose attempt was answered like this is tried once more. A redirect is not followed: it is as final as
// another 4xx, since a job that is done is to be answered with 2xx.
func again(status int) bool {
	switch status {
	case http.StatusRequestTimeout, http.StatusTooEarly, http.StatusTooManyRequests:
		return true
	}
	return status >= 500
}

// after is the pause after so many tries since the first.
func (b *Backoff) after(tries int) time.Duration {
	pause := b.First
	for range tries {
		if pause >= b.Most {
			break
		}
		pause *= 2
	}
	return min(pause, b.Most)
}

// retryAfter reads Retry-After (RFC 9110 section 10.2.3), 0 where there is none.
func retryAfter(h http.Header) time.Duration {
	text := strings.TrimSpace(h.Get("Retry-After"))
	if seconds, err := strconv.ParseUint(text, 10, 64); err == nil {
		return time.Duration(min(seconds, uint64(longest/time.Second))) * time.Second
	}
	at, err := http.ParseTime(text)
	if err != nil {
		return 0
	}
	now := time.Now()
	if date, err := http.ParseTime(h.Get("Date")); err == nil {
		now = date // the server's own clock
	}
	return min(max(at.Sub(now), 0), longest)
}

// seconds rounds a duration up, to one second at least, for Retry-After.
func seconds(d time.Duration) time.Duration {
	return time.Duration(max(1, math.Ceil(d.Seconds()))) * time.Second
}
