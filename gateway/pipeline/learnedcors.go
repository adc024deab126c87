package pipeline

import (
	"net/http"
	"strings"
	"time"

	"github.com/headgate/headgate/internal/boundedmap"
)

// LearnedCORS remembers which pages an app that does CORS by itself lets read its
// answers, so that the gateway's own answers in its place, a 429 above all, can be read
// by the same pages: without that, a script cannot tell a denial from a broken network.
// It repeats only what the app server has granted to that origin on that route within
// the last ten minutes. It is safe for concurrent use.
type LearnedCORS struct {
	grants *boundedmap.Map[grantKey, http.Header]
	now    func() time.Time
}

type grantKey struct{ route, origin string }

const (
	learnedCORSBytes = 1 << 20
	learnedCORSFor   = 10 * time.Minute
)

// NewLearnedCORS returns an empty memory of at most 1 MiB.
func NewLearnedCORS(now func() time.Time) *LearnedCORS {
	return &LearnedCORS{boundedmap.New[grantKey, http.Header](boundedmap.Options{MaxBytes: learnedCORSBytes, Shards: 8}), now}
}

// grantHeaders are those of an answer that concern reading it (the Fetch
// standard, section 3.3.3); the others are for preflights.
var grantHeaders = []string{"Access-Control-Allow-Origin", "Access-Control-Allow-Credentials", "Access-Control-Expose-Headers"}

// learn notes what an app's answer grants to the origin of its request.
func (l *LearnedCORS) learn(route, origin string, answer http.Header) {
	if origin == "" || len(origin) > 256 {
		return
	}
	granted := answer["Access-Control-Allow-Origin"]
	if len(granted) != 1 || granted[0] != "*" && granted[0] != origin {
		return
	}
	now := l.now()
	origin = strings.Clone(origin) // what is held must not hold the whole request's head
	l.grants.Update(grantKey{route, origin}, now, func(old http.Header, ok bool) (http.Header, int, time.Time, bool) {
		grant, size := http.Header{}, len(route)+len(origin)
		for _, name := range grantHeaders {
			if values := answer[name]; len(values) == 1 && len(values[0]) <= 1024 {
				grant[name] = []string{values[0]}
				size += len(name) + len(values[0]) + 64
			}
		}
		return grant, size, now.Add(learnedCORSFor), true
	})
}

// repeat adds to an answer of the gateway's own what the app server has granted.
func (l *LearnedCORS) repeat(route, origin string, h http.Header) {
	if origin == "" || h.Get("Access-Control-Allow-Origin") != "" {
		return
	}
	grant, ok := l.grants.Get(grantKey{route, origin}, l.now())
	if !ok {
		return
	}
	for name, values := range grant {
		h[name] = values[:1:1]
	}
	h.Add("Vary", "Origin")
}
