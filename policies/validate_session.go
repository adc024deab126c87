package policies

import (
	"net/http"
	"strings"
	"time"

	"github.com/headgate/headgate/internal/httpx"
	"github.com/headgate/headgate/middleware/problem"
	"github.com/headgate/headgate/middleware/session"
)

func (c *checker) session() {
	s := &c.p.Session
	c.cookie(&s.Cookie)
	for i, secret := range s.Secrets {
		path := "session.secrets"
		if !c.at.Has(path) {
			path = "session.secrets_file"
		}
		if n := len(secret); n < minSecretBytes && (n > 0 || path == "session.secrets") {
			c.bad(problem.Item(path, i), "make one with: openssl rand -base64 32", "the secret has %d bytes, and needs %d or more", n, minSecretBytes)
		}
	}
	c.positive("session.idle_timeout", s.IdleTimeout)
	c.positive("session.absolute_timeout", s.AbsoluteTimeout)
	for _, d := range []struct {
		path  string
		value time.Duration
	}{{"session.idle_timeout", s.IdleTimeout}, {"session.absolute_timeout", s.AbsoluteTimeout}} {
		if d.value > 0 && d.value < time.Millisecond {
			c.bad(d.path, "choose 1ms or more", "no session could be that short")
		}
	}
	if s.IdleTimeout > s.AbsoluteTimeout {
		at := "session.idle_timeout"
		if !c.at.Has(at) {
			at = "session.absolute_timeout"
		}
		c.bad(at, "make idle_timeout at most absolute_timeout", "sessions end after %v, before they can be idle for %v", s.AbsoluteTimeout, s.IdleTimeout)
	}
	if s.RotateEvery > 0 && s.RotateEvery < seconds(60) {
		c.bad("session.rotate_every", "choose 1m or more, or 0s for only at login", "IDs would be renewed before their old ones have ended")
	}
	c.between("session.max_per_user", s.MaxPerUser, 1, 1000)
	if c.localPath("session.login_path", s.LoginPath) && !session.SafePath(s.LoginPath) {
		c.bad("session.login_path", "write it in printable characters of ASCII, and escape others", "%s is not a path that browsers can be sent to", quote(s.LoginPath))
	}
	if s.CSRF != nil {
		for i, origin := range s.CSRF.TrustedOrigins {
			c.origin(problem.Item("session.csrf.trusted_origins", i), origin, false)
		}
	}
	if s.Assertion != nil {
		if s.Assertion.KeyFile == "" {
			c.missing("session.assertion", "key_file", "make one with: openssl genpkey -algorithm ed25519")
		}
		c.positive("session.assertion.ttl", s.Assertion.TTL)
		if s.Assertion.TTL > seconds(3600) {
			c.bad("session.assertion.ttl", "choose 1h or less", "an assertion can't be called back, so it must be short-lived")
		}
	}
}

func (c *checker) cookie(k *Cookie) {
	if !httpx.IsToken(k.Name) {
		c.bad("session.cookie.name", "use letters, digits, - and _", "%s is not a cookie's name", quote(k.Name))
	}
	c.localPath("session.cookie.path", k.Path)
	if strings.ContainsAny(k.Path, ";,") {
		c.bad("session.cookie.path", "remove it", "a cookie's path can't hold ; or ,")
	}
	if k.Domain != "" && (!httpx.ValidHostName(strings.TrimPrefix(k.Domain, ".")) || !strings.Contains(strings.Trim(k.Domain, "."), ".")) {
		c.bad("session.cookie.domain", "write it like example.com", "%s is not a domain that browsers take cookies for", quote(k.Domain))
	}
	if ok := isCookiePath(k.Path); !ok && k.Path != "" {
		c.bad("session.cookie.path", "write it in printable characters of ASCII", "a cookie can't have the path %s", quote(k.Path))
	}
	lower := strings.ToLower(k.Name) // browsers compare the prefixes so
	switch {
	case strings.HasPrefix(lower, "__host-") && (!k.Secure || k.Domain != "" || k.Path != "/"):
		c.bad("session.cookie.name", "remove domain, write path: / and secure: true, or choose another name", "browsers drop a __Host- cookie with these attributes")
	case strings.HasPrefix(lower, "__secure-") && !k.Secure:
		c.bad("session.cookie.name", "write secure: true, or choose another name", "browsers drop a __Secure- cookie without Secure")
	}
	if k.SameSite == SameSiteNone && !k.Secure {
		c.bad("session.cookie.same_site", "write secure: true", "browsers drop a cookie with same_site none and without Secure")
	} else if !k.Secure {
		c.warn("session.cookie.secure", "serve HTTPS and write secure: true", "the session cookie can be read by anybody on the network")
	}
}

// origin reports what is not an origin as browsers send it: scheme://host[:port]. A wildcard may stand for sub-domains.
func (c *checker) origin(path, origin string, wildcard bool) {
	mend := "write it like https://app.example.com"
	if wildcard {
		mend += " or https://*.example.com"
	}
	plain := origin
	if wildcard {
		plain = strings.Replace(origin, "://*.", "://", 1)
	}
	switch normal, ok := httpx.NormalizeOrigin(plain); {
	case !ok:
		c.bad(path, mend, "%s is not an origin", quote(origin))
	case normal != plain:
		c.bad(path, "write "+quote(normal)+", as browsers send it", "no browser sends the origin %s", quote(origin))
	}
}

// isCookiePath reports whether a cookie may have a path, as net/http writes it.
func isCookiePath(path string) bool {
	return (&http.Cookie{Name: "x", Path: path}).Valid() == nil
}
