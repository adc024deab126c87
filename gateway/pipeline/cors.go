package pipeline

import (
	"net/http"
	"strconv"
	"strings"
	"time"

	"github.com/headgate/headgate/internal/httpx"
	"github.com/headgate/headgate/policies"
)

// cors is the CORS protocol (the Fetch standard, section 3.2), answered in the
// app's place.
type cors struct {
	any         bool
	origins     map[string]bool
	wildcards   []httpx.WildcardOrigin
	methods     string
	headers     string
	expose      string
	credentials bool
	maxAge      string
}

func newCORS(p *policies.CORS) *cors {
	cs := &cors{
		origins:     map[string]bool{},
		methods:     strings.Join(p.AllowMethods, ", "),
		headers:     strings.Join(p.AllowHeaders, ", "),
		expose:      strings.Join(p.ExposeHeaders, ", "),
		credentials: p.AllowCredentials,
		maxAge:      strconv.FormatInt(int64(p.MaxAge/time.Second), 10),
	}
	for _, o := range p.AllowOrigins {
		w, wild := httpx.ParseWildcardOrigin(o)
		switch {
		case o == "*":
			cs.any = true
		case wild:
			cs.wildcards = append(cs.wildcards, w)
		default:
			cs.origins[o] = true
		}
	}
	return cs
}

func (cs *cors) allows(origin string) bool {
	if cs.any || cs.origins[origin] {
		return true
	}
	for _, w := range cs.wildcards {
		if w.Matches(origin) {
			return true
		}
	}
	return false
}

// grant tells the browser that the page may read the answer. It is set before
// anything is decided, so that pages can read denials as well.
func (cs *cors) grant(h http.Header, origin string) {
	if !cs.any || cs.credentials {
		h.Add("Vary", "Origin")
	}
	if origin == "" || !cs.allows(origin) {
		return
	}
	if cs.any && !cs.credentials {
		origin = "*"
	}
	h.Set("Access-Control-Allow-Origin", origin)
	if cs.credentials {
		h.Set("Access-Control-Allow-Credentials", "true")
	}
	if cs.expose != "" {
		h.Set("Access-Control-Expose-Headers", cs.expose)
	}
}

// ownFields are the fields by which answers of the gateway's own tell clients when to come back, and what
// remains of their limits.
var ownFields = []struct{ key, name string }{
	{"Retry-After", "Retry-After"},
	{"Ratelimit", "RateLimit"}, {"Ratelimit-Policy", "RateLimit-Policy"},
	{"X-Ratelimit-Limit", "X-RateLimit-Limit"}, {"X-Ratelimit-Remaining", "X-RateLimit-Remaining"}, {"X-Ratelimit-Reset", "X-RateLimit-Reset"},
}

// exposeOwn lets a page that may read an answer of the gateway's own read those of its fields as well,
// besides what policy or app expose.
func exposeOwn(h http.Header) {
	if h["Access-Control-Allow-Origin"] == nil {
		return
	}
	exposed := h["Access-Control-Expose-Headers"]
	list := strings.Join(exposed, ", ")
	for _, f := range ownFields {
		if h[f.key] == nil || httpx.HasToken(exposed, f.name) {
			continue
		}
		if list != "" {
			list += ", "
		}
		list += f.name
	}
	if list != "" {
		h["Access-Control-Expose-Headers"] = []string{list}
	}
}

// isPreflight reports whether a request asks for permission only (the Fetch standard,
// CORS-preflight request).
func isPreflight(r *Request) bool {
	return httpx.PreflightFor(r.Method, r.Header) != ""
}

// preflight answers preflights, which no limit counts and no session is needed for,
// and lets pages of allowed origins read all other answers.
func preflight(r *Request) *Answer {
	cs, origin := r.Route.cors, r.Header.Get("Origin")
	if r.echo != nil {
		cs.grant(r.echo.Response().Header(), origin)
	}
	if !r.backends.Preflight(r) {
		return nil
	}
	a := Answer{Status: http.StatusNoContent, Detail: "the gateway answers the CORS preflight, which no limit counts", form: asBare, Header: http.Header{}}
	a.Header.Set("Vary", "Access-Control-Request-Method, Access-Control-Request-Headers")
	if cs.allows(origin) {
		a.Header.Set("Access-Control-Allow-Methods", cs.methods)
		if cs.headers != "" {
			a.Header.Set("Access-Control-Allow-Headers", cs.headers)
		}
		a.Header.Set("Access-Control-Max-Age", cs.maxAge)
	}
	return r.answered(a)
}

func (b liveBackends) Preflight(r *Request) bool { return isPreflight(r) }

// removeCORS removes what the app server says of CORS: a browser takes two answers for none.
func removeCORS(h http.Header) {
	for name := range h {
		if strings.HasPrefix(name, "Access-Control-") {
			delete(h, name)
		}
	}
}
