package policytest

import (
	"cmp"
	"net/http"
	"slices"
	"strings"
	"time"

	"github.com/headgate/headgate/internal/httpx"
)

// cookies are a client's cookies, kept as RFC 6265 section 5 says. net/http/cookiejar cannot be used: it
// expires cookies by the real clock.
type cookies struct {
	kept []*cookie
}

type cookie struct {
	name, value  string
	domain, path string
	hostOnly     bool
	secure       bool
	expires      time.Time // zero: at the end of the test
	order        int
}

// take keeps the cookies that a response sets.
func (c *cookies) take(set []string, s *Step, now time.Time) {
	res := http.Response{Header: http.Header{"Set-Cookie": set}}
	for _, from := range res.Cookies() {
		k := &cookie{name: from.Name, value: from.Value, path: from.Path, secure: from.Secure, hostOnly: true,
			domain: httpx.HostName(s.Host), order: len(c.kept)}
		if d := strings.TrimPrefix(strings.ToLower(from.Domain), "."); d != "" {
			if !domainMatches(k.domain, d) {
				continue // a cookie for another host
			}
			k.domain, k.hostOnly = d, false
		}
		if k.secure && s.Scheme != "https" {
			continue
		}
		if strings.HasPrefix(k.name, "__Host-") && (!k.secure || !k.hostOnly || k.path != "/") ||
			strings.HasPrefix(k.name, "__Secure-") && !k.secure {
			continue
		}
		if !strings.HasPrefix(k.path, "/") {
			path, _, _ := strings.Cut(s.Target, "?")
			k.path = path[:max(1, strings.LastIndexByte(path, '/'))]
		}
		switch {
		case from.MaxAge < 0:
			k.expires = now
		case from.MaxAge > 0:
			k.expires = now.Add(time.Duration(from.MaxAge) * time.Second)
		case !from.Expires.IsZero():
			k.expires = from.Expires
		}
		c.kept = slices.DeleteFunc(c.kept, func(old *cookie) bool {
			if old.name != k.name || old.domain != k.domain || old.path != k.path {
				return false
			}
			k.order = old.order
			return true
		})
		if !k.expired(now) {
			c.kept = append(c.kept, k)
		}
	}
}

func (k *cookie) expired(now time.Time) bool { return !k.expires.IsZero() && !now.Before(k.expires) }

// header returns the Cookie header of a request, or "" if there is none to send.
func (c *cookies) header(s *Step, now time.Time) string {
	host := httpx.HostName(s.Host)
	path, _, _ := strings.Cut(s.Target, "?")
	var sent []*cookie
	for _, k := range c.kept {
		switch {
		case k.expired(now), k.secure && s.Scheme != "https",
			k.hostOnly && host != k.domain, !domainMatches(host, k.domain), !pathMatches(path, k.path):
			continue
		}
		sent = append(sent, k)
	}
	slices.SortStableFunc(sent, func(a, b *cookie) int {
		return cmp.Or(cmp.Compare(len(b.path), len(a.path)), cmp.Compare(a.order, b.order))
	})
	var b strings.Builder
	for i, k := range sent {
		if i > 0 {
			b.WriteString("; ")
		}
		b.WriteString(k.name + "=" + k.value)
	}
	return b.String()
}

func domainMatches(host, domain string) bool {
	return host == domain || strings.HasSuffix(host, "."+domain)
}

func pathMatches(path, prefix string) bool {
	return path == prefix || strings.HasPrefix(path, prefix) && (strings.HasSuffix(prefix, "/") || path[len(prefix)] == '/')
}
