package session

import (
	"fmt"
	"net/http"
	"strings"
	"time"

	"github.com/headgate/headgate/internal/filestate"
	"github.com/headgate/headgate/internal/httpx"
	"github.com/headgate/headgate/middleware/problem"
)

const (
	maxPerUserLimit = 1000
	minSecret       = 32
	maxAssertionTTL = time.Hour
	maxRemember     = 400 * 24 * time.Hour
)

// complete returns the settings with every zero filled in and the secrets read from
// their files, or all that is wrong with them.
func (s Settings) complete() (Settings, error) {
	s.SetDefaults()
	s.Cookie.ResolveName()
	if len(s.Secrets) == 0 {
		for _, name := range s.SecretsFile {
			text, err := filestate.Read(name)
			if err != nil {
				return s, fmt.Errorf("session: secrets_file: %w", err)
			}
			s.Secrets = append(s.Secrets, []byte(strings.TrimRight(string(text), "\r\n")))
		}
	}
	return s, problem.Error("session", s.Validate())
}

// Validate says everything that is wrong with settings whose defaults are set.
func (s *Settings) Validate() []problem.Problem {
	var ps problem.List
	ps = append(ps, problem.Within("cookie", s.Cookie.Validate())...)
	for i, secret := range s.Secrets {
		if n := len(secret); n < minSecret {
			ps.Add(problem.Item("secrets", i), "make one with: openssl rand -base64 32", "the secret has %d bytes, and needs %d or more", n, minSecret)
		}
	}
	s.validateTimes(&ps)
	problem.Between(&ps, "max_per_user", s.MaxPerUser, 1, maxPerUserLimit)
	if s.MaxData < len("{}") {
		ps.Add("max_data", fmt.Sprintf("give a number of bytes, or zero for %d", DefaultMaxData), "%d bytes hold no data", s.MaxData)
	}
	if s.LoginPath != "" && problem.LocalPath(&ps, "login_path", s.LoginPath) && !SafePath(s.LoginPath) {
		ps.Add("login_path", "write it in printable characters of ASCII, and escape others", "%s is not a path that browsers can be sent to", problem.Quote(s.LoginPath))
	}
	for i, origin := range s.CSRF.TrustedOrigins {
		validateOrigin(&ps, problem.Item("csrf.trusted_origins", i), origin)
	}
	if s.Assertion != (AssertionOptions{}) {
		ps = append(ps, problem.Within("assertion", s.Assertion.Validate())...)
	}
	return ps
}

// validateOrigin finds what is neither an origin nor one with a wildcard.
func validateOrigin(ps *problem.List, path, origin string) {
	const mend = "write it like https://app.example.com or https://*.example.com"
	if origin == "*" {
		ps.Add(path, mend+", or csrf: off for a route that every site may call", "every site could act in the name of a user")
		return
	}
	w, wildcard := httpx.ParseWildcardOrigin(origin)
	switch _, ok := httpx.NormalizeOrigin(origin); {
	case !wildcard && (!ok || strings.Contains(origin, "*")):
		ps.Add(path, mend, "%s is not an origin", problem.Quote(origin))
	case wildcard && w.TopLevel():
		ps.Add(path, mend, "%s stands for a whole top-level domain", problem.Quote(origin))
	}
}

func (s *Settings) validateTimes(ps *problem.List) {
	for _, d := range []struct {
		path  string
		value time.Duration
	}{{"idle_timeout", s.IdleTimeout}, {"absolute_timeout", s.AbsoluteTimeout}} {
		problem.Positive(ps, d.path, d.value)
		if d.value > 0 && d.value < time.Millisecond {
			ps.Add(d.path, "choose 1ms or more", "no session could be that short")
		}
	}
	switch {
	case s.Remember == 0:
	case s.Remember <= s.AbsoluteTimeout:
		ps.Add("remember", "make it longer than absolute_timeout, or remove it", "a login may last for %v without it", s.AbsoluteTimeout)
	case s.Remember > maxRemember:
		ps.Add("remember", "choose 400d or less", "browsers keep no cookie for longer than 400 days")
	}
	if s.IdleTimeout > s.AbsoluteTimeout {
		at := "idle_timeout"
		if s.IdleTimeout == DefaultIdleTimeout {
			at = "absolute_timeout" // the one that was written
		}
		ps.Add(at, "make idle_timeout at most absolute_timeout", "sessions end after %v, before they can be idle for %v", s.AbsoluteTimeout, s.IdleTimeout)
	}
}

// Validate says what is wrong with the cookie. An empty name is none of it.
func (c *CookieOptions) Validate() []problem.Problem {
	var ps problem.List
	if c.Name != "" && !httpx.IsToken(c.Name) {
		ps.Add("name", "use letters, digits, - and _", "%s is not a cookie's name", problem.Quote(c.Name))
	}
	problem.LocalPath(&ps, "path", c.Path)
	if strings.ContainsAny(c.Path, ";,") {
		ps.Add("path", "remove it", "a cookie's path can't hold ; or ,")
	}
	if c.Domain != "" && (!httpx.ValidHostName(strings.TrimPrefix(c.Domain, ".")) || !strings.Contains(strings.Trim(c.Domain, "."), ".")) {
		ps.Add("domain", "write it like example.com", "%s is not a domain that browsers take cookies for", problem.Quote(c.Domain))
	}
	if probe := (&http.Cookie{Name: "x", Path: c.Path}); c.Path != "" && probe.Valid() != nil {
		ps.Add("path", "write it in printable characters of ASCII", "a cookie can't have the path %s", problem.Quote(c.Path))
	}
	lower := strings.ToLower(c.Name) // browsers compare the prefixes so
	switch {
	case strings.HasPrefix(lower, "__host-") && !c.hostOnly():
		ps.Add("name", "remove domain, write path: / and secure: true, or choose another name", "browsers drop a __Host- cookie with these attributes")
	case strings.HasPrefix(lower, "__secure-") && c.Insecure:
		ps.Add("name", "write secure: true, or choose another name", "browsers drop a __Secure- cookie without Secure")
	}
	switch {
	case c.Partitioned && c.Insecure:
		ps.Add("partitioned", "write secure: true", "browsers drop a partitioned cookie without Secure")
	case c.Partitioned && c.SameSite != SameSiteNone:
		ps.Warn("partitioned", "write same_site: none, or remove it", "with same_site: %s the cookie is not sent in the frames of other sites, and there is nothing to partition", c.SameSite)
	}
	switch {
	case !problem.Word(&ps, "same_site", c.SameSite):
	case c.SameSite == SameSiteNone && c.Insecure:
		ps.Add("same_site", "write secure: true", "browsers drop a cookie with same_site none and without Secure")
	case c.Insecure:
		ps.Warn("secure", "serve HTTPS and write secure: true", "the session cookie can be read by anybody on the network")
	}
	return ps
}

// Validate says what is wrong with assertions that are on.
func (a *AssertionOptions) Validate() []problem.Problem {
	var ps problem.List
	if a.KeyFile == "" {
		ps.Add("key_file", "make one with: openssl genpkey -algorithm ed25519", problem.This+" is empty")
	}
	problem.Positive(&ps, "ttl", a.TTL)
	if a.TTL > maxAssertionTTL {
		ps.Add("ttl", "choose 1h or less", "an assertion can't be called back, so it must be short-lived")
	}
	return ps
}
