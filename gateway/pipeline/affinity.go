package pipeline

import (
	"net/http"
	"slices"
	"strings"

	"github.com/headgate/headgate/internal/httpx"
	"github.com/headgate/headgate/policies"
)

// affinityCookies are the cookies of the upstreams that choose servers by one, by the upstream's name.
func affinityCookies(p *policies.Policy) map[string]string {
	names := map[string]string{}
	for upstream, cfg := range p.Upstreams {
		if name := cfg.AffinityCookieName(upstream); name != "" {
			names[upstream] = name
		}
	}
	return names
}

// takeAffinity cuts the cookies that name servers from the request, those of other upstreams too: neither the app server nor the cache gets
// them. To the cache they would be the app's own.
func (r *Request) takeAffinity() {
	for upstream, name := range r.pipeline.affinity {
		if upstream == r.Route.Policy.Upstream {
			r.affinity = slices.AppendSeq(r.affinity, httpx.CookieValues(r.Header["Cookie"], name))
		}
		httpx.CutCookie(r.Header, name)
	}
}

// giveAffinityLater has the client given the cookie of its server just before the answer goes out, when the cache has decided what it stores.
func (r *Request) giveAffinityLater() {
	if r.pipeline.affinity[r.Route.Policy.Upstream] == "" {
		return
	}
	h := r.echo.Response().Header()
	r.echo.Response().Before(func() {
		if line := r.newAffinity.Load(); line != nil && !(r.Route.cache != nil && isShared(h)) {
			h.Add("Set-Cookie", *line)
			httpx.KeepPrivate(h)
		}
	})
}

// isShared reports whether others get the answer, too: it comes from the cache or goes into it.
func isShared(h http.Header) bool {
	lines := h["Cache-Status"]
	if len(lines) == 0 || !strings.HasPrefix(lines[len(lines)-1], "headgate;") { // that of a cache behind the gateway
		return false
	}
	return slices.ContainsFunc([]string{"; hit", "; stored", "; collapsed", "; fwd-status="}, func(s string) bool {
		return strings.Contains(lines[len(lines)-1], s)
	})
}

// affinityCookiesOf and setAffinityCookie are the proxy's way to the cookie.
func affinityCookiesOf(req *http.Request) []string { return requestFrom(req.Context()).affinity }

func setAffinityCookie(req *http.Request, line string) {
	requestFrom(req.Context()).newAffinity.Store(&line)
}
