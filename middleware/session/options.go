package session

import (
	"errors"
	"fmt"
	"log/slog"
	"net/http"
	"strings"
	"time"

	"github.com/headgate/headgate/middleware/store"
)

// Options configures [New]: what a Manager lives with, and the first Settings.
type Options struct {
	// Redis keeps the sessions for all instances that use the same Redis and
	// key prefix. Nil keeps them in this process, for one instance, with the
	// same behaviour until it ends.
	Redis *store.Redis

	// MemoryBytes bounds the sessions kept in this process where Redis is nil.
	// Where it is full, the ones nearest to their end make room. Zero means 64
	// MiB.
	MemoryBytes int64

	// Settings may differ between the generations of a policy: see
	// [Manager.With].
	Settings Settings

	// Logger gets what no request can be told. Nil discards it.
	Logger *slog.Logger

	// Now is the clock; nil is time.Now. Instances' clocks should agree within
	// a second or so. Meant for tests.
	Now func() time.Time
}

// Settings are the rules that sessions follow. The zero value is a safe default.
type Settings struct {
	// Cookie describes the session cookie.
	Cookie CookieOptions

	// Secrets sign the cookie, so that junk is refused before Redis is asked:
	// the first signs, all verify, at least 32 bytes each. To rotate, put the
	// new one first, and drop the old one after AbsoluteTimeout. Replacing all
	// of them ends every session. None: cookies are not signed.
	Secrets [][]byte

	// IdleTimeout ends a session that gets no requests. Zero means 30 minutes.
	// Touches are throttled to one a minute (for short timeouts, ten per
	// timeout), so a session ends up to that much earlier than IdleTimeout
	// after its last request, and never later.
	IdleTimeout time.Duration

	// AbsoluteTimeout ends a session however busy it is, counted from login and
	// unchanged by renewals of its ID. Zero means 12 hours.
	AbsoluteTimeout time.Duration

	// RotateEvery is the age at which a session's ID is replaced. Zero means
	// one hour.
	RotateEvery time.Duration

	// MaxPerUser is how many sessions one user may have; a login above it ends
	// the oldest. Zero means 10; the most is 1000.
	MaxPerUser int

	// MaxData bounds a session's data, in bytes of its ASCII JSON. Zero means
	// 4096, which is also the most that [HeaderSession] carries: a larger
	// session goes to app servers without that header.
	MaxData int

	// LoginPath is where a browser is sent when a session is required: a path
	// of this site. Empty: browsers get 401 as API clients do.
	LoginPath string

	// CSRF refuses cross-origin requests. The zero value does so.
	CSRF CSRFOptions
}

// CookieOptions describes the cookie. It is always HttpOnly.
type CookieOptions struct {
	// Name; empty means __Host-session where the other attributes allow it,
	// else session.
	Name string
	// Domain widens the cookie to a domain's hosts. Empty: this host alone.
	Domain string
	// Path; empty means "/".
	Path string
	// SameSite; zero means Lax. None needs a secure cookie.
	SameSite http.SameSite
	// Insecure lets the cookie travel over plain HTTP. Only for development.
	Insecure bool
}

// Defaults of Settings.
const (
	DefaultIdleTimeout     = 30 * time.Minute
	DefaultAbsoluteTimeout = 12 * time.Hour
	DefaultRotateEvery     = time.Hour
	DefaultMaxPerUser      = 10
	DefaultMaxData         = 4 << 10

	maxPerUserLimit    = 1000
	defaultMemoryBytes = 64 << 20
	minSecret          = 32
)

// withDefaults returns the settings with every zero filled in, or all that is
// wrong with them.
func (s Settings) withDefaults() (Settings, error) {
	var errs []error
	s.IdleTimeout = orDuration(s.IdleTimeout, DefaultIdleTimeout)
	s.AbsoluteTimeout = orDuration(s.AbsoluteTimeout, DefaultAbsoluteTimeout)
	s.RotateEvery = orDuration(s.RotateEvery, DefaultRotateEvery)
	for _, d := range []struct {
		name  string
		value time.Duration
	}{{"IdleTimeout", s.IdleTimeout}, {"AbsoluteTimeout", s.AbsoluteTimeout}, {"RotateEvery", s.RotateEvery}} {
		if d.value < time.Millisecond {
			errs = append(errs, fmt.Errorf("%s is %v; give a positive duration, or zero for the default", d.name, d.value))
		}
	}
	if s.MaxPerUser == 0 {
		s.MaxPerUser = DefaultMaxPerUser
	}
	if s.MaxPerUser < 0 || s.MaxPerUser > maxPerUserLimit {
		errs = append(errs, fmt.Errorf("MaxPerUser is %d; give 1 to %d, or zero for %d", s.MaxPerUser, maxPerUserLimit, DefaultMaxPerUser))
	}
	if s.MaxData == 0 {
		s.MaxData = DefaultMaxData
	}
	if s.MaxData < len("{}") {
		errs = append(errs, fmt.Errorf("MaxData is %d; give a number of bytes, or zero for %d", s.MaxData, DefaultMaxData))
	}
	for i, secret := range s.Secrets {
		if len(secret) < minSecret {
			errs = append(errs, fmt.Errorf("secret %d has %d bytes; give at least %d random ones (openssl rand -base64 32)", i+1, len(secret), minSecret))
		}
	}
	if s.LoginPath != "" && !SafePath(s.LoginPath) {
		errs = append(errs, fmt.Errorf("LoginPath is %q; give a path of this site, such as /login", s.LoginPath))
	}
	cookie, err := s.Cookie.withDefaults()
	s.Cookie = cookie
	errs = append(errs, err)
	return s, errors.Join(errs...)
}

func (c CookieOptions) withDefaults() (CookieOptions, error) {
	if c.Path == "" {
		c.Path = "/"
	}
	if c.SameSite == 0 || c.SameSite == http.SameSiteDefaultMode {
		c.SameSite = http.SameSiteLaxMode
	}
	hostOnly := !c.Insecure && c.Domain == "" && c.Path == "/"
	if c.Name == "" {
		c.Name = "session"
		if hostOnly {
			c.Name = "__Host-session"
		}
	}
	// Browsers compare the prefixes without regard to case.
	lower := strings.ToLower(c.Name)
	switch {
	case strings.HasPrefix(lower, "__host-") && !hostOnly:
		return c, fmt.Errorf("cookie %q: browsers keep a __Host- cookie only if it is secure, without a domain and with path /; rename it or change these", c.Name)
	case strings.HasPrefix(lower, "__secure-") && c.Insecure:
		return c, fmt.Errorf("cookie %q: browsers keep a __Secure- cookie only if it is secure; rename it or make it secure", c.Name)
	case c.SameSite == http.SameSiteNoneMode && c.Insecure:
		return c, fmt.Errorf("cookie %q: browsers refuse SameSite=None without Secure; choose lax or strict, or make it secure", c.Name)
	}
	probe := http.Cookie{Name: c.Name, Value: "x", Path: c.Path, Domain: c.Domain}
	if err := probe.Valid(); err != nil {
		return c, fmt.Errorf("cookie %q: %w", c.Name, err)
	}
	return c, nil
}

func orDuration(d, def time.Duration) time.Duration {
	if d == 0 {
		return def
	}
	return d
}

// touchEvery is how often at most a session's last use is written.
func (s *Settings) touchEvery() time.Duration {
	return min(time.Minute, s.IdleTimeout/10)
}
