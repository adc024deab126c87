package server

import (
	"net/http"
	"strings"
	"time"

	"github.com/headgate/headgate/internal/boundedmap"
	"github.com/labstack/echo/v4"
)

// lentCORS remembers which pages an app that does CORS by itself lets read
// its answers, so that the gateway's own answers in its place, a 429 above
// all, can be read by the same pages: without that, a script cannot tell a
// denial from a broken network. It lends only what the app has granted to that origin
// on that route of late.
type lentCORS struct {
	grants *boundedmap.Map[lentKey, http.Header]
	now    func() time.Time
}

type lentKey struct{ route, origin string }

const (
	lentCORSBytes = 1 << 20
	lentCORSFor   = 10 * time.Minute
)

func newLentCORS(now func() time.Time) *lentCORS {
	return &lentCORS{boundedmap.New[lentKey, http.Header](boundedmap.Options{MaxBytes: lentCORSBytes, Shards: 8}), now}
}

// grantHeaders are those of an answer that concern reading it (the Fetch
// standard, section 3.3.3); the others are for preflights.
var grantHeaders = []string{"Access-Control-Allow-Origin", "Access-Control-Allow-Credentials", "Access-Control-Expose-Headers"}

// learn notes what an app's answer grants to the origin of its request.
func (l *lentCORS) learn(route, origin string, answer http.Header) {
	if origin == "" || len(origin) > 256 {
		return
	}
	granted := answer["Access-Control-Allow-Origin"]
	if len(granted) != 1 || granted[0] != "*" && granted[0] != origin {
		return
	}
	now := l.now()
	origin = strings.Clone(origin) // what is held must not hold the whole request's head
	l.grants.Update(lentKey{route, origin}, now, func(old http.Header, ok bool) (http.Header, int, time.Time, bool) {
		grant, size := http.Header{}, len(route)+len(origin)
		for _, name := range grantHeaders {
			if values := answer[name]; len(values) == 1 && len(values[0]) <= 1024 {
				grant[name] = []string{values[0]}
				size += len(name) + len(values[0]) + 64
			}
		}
		return grant, size, now.Add(lentCORSFor), true
	})
}

// lendCORS lends to an answer that the gateway is about to give itself. Where the
// policy has CORS for the route, that has spoken already.
func (rt *route) lendCORS(c echo.Context) {
	if origins := c.Request().Header["Origin"]; rt.cors == nil && len(origins) > 0 {
		rt.server.parts.lent.lend(rt.name, origins[0], c.Response().Header())
	}
}

// lend adds to an answer of the gateway's own what the app has granted.
func (l *lentCORS) lend(route, origin string, h http.Header) {
	if origin == "" || h.Get("Access-Control-Allow-Origin") != "" {
		return
	}
	grant, ok := l.grants.Get(lentKey{route, origin}, l.now())
	if !ok {
		return
	}
	for name, values := range grant {
		h[name] = values[:1:1]
	}
	h.Add("Vary", "Origin")
}
