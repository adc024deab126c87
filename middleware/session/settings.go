package session

import (
	"net/http"
	"time"
)

// What a zero field of Settings means. A negative RotateEvery is none: IDs are
// then renewed at login and on demand alone. An empty LoginPath is no login page,
// and browsers get 401 as API clients do; a gateway's policy has /login there.
const (
	DefaultIdleTimeout     = 30 * time.Minute
	DefaultAbsoluteTimeout = 12 * time.Hour
	DefaultRotateEvery     = time.Hour
	DefaultMaxPerUser      = 10
	DefaultMaxData         = 4 << 10
	DefaultAssertionTTL    = time.Minute
)

// Settings configures the sessions that all instances share.
type Settings struct {
	// The cookie that carries the session's token.
	Cookie CookieOptions `yaml:"cookie"`
	// Secrets that sign the cookie, of 32 bytes or more each: the first signs, all verify, so a new one goes in front.
	// Junk is then refused before Redis is asked. They sign the cookies of `balance: cookie` and of devices that accounts know (limits by account), too. Default: none, the token's 256 random bits stand alone.
	Secrets [][]byte `yaml:"secrets" config:"secret" want:"a secret"`
	// Files that hold one secret each, instead of secrets; one or a list.
	SecretsFile []string `yaml:"secrets_file" config:"path" want:"a path"`
	// How long a session lasts without a request of its client; what the client sends through a WebSocket counts as one. Default 30m.
	IdleTimeout time.Duration `yaml:"idle_timeout"`
	// How long a session lasts at most, used or not; also the cookie's Max-Age. Default 12h.
	AbsoluteTimeout time.Duration `yaml:"absolute_timeout"`
	// The most that a login may ask for by Headgate-Login-Lifetime (30d), which is how long it then lasts, idle or
	// not; what asks for more gets as much. Default 0: absolute_timeout, and idle_timeout ends it before.
	Remember time.Duration `yaml:"remember" config:"none"`
	// How often a session gets a new ID. 0 is only at login and when the app asks. Default 1h.
	RotateEvery time.Duration `yaml:"rotate_every" config:"none"`
	// How many sessions a user may have at once, 1 to 1000; the oldest ends when there are more. Default 10.
	MaxPerUser int `yaml:"max_per_user"`
	// Where a browser is sent when a session is required, from a GET with ?next=/local/path added; API clients get 401. Default /login.
	LoginPath string `yaml:"login_path"`
	// Protection from cross-site requests: on, unless this is off. Default: on, with no trusted origins.
	CSRF CSRFOptions `yaml:"csrf" config:"optional,protects"`
	// Tell the app server who is logged in with a signed token, too. Default: off.
	Assertion AssertionOptions `yaml:"assertion" config:"optional"`

	// MaxData bounds a session's data, in bytes of its JSON in UTF-8. Zero means
	// 4096, which is also the most that [HeaderSession] carries: a larger
	// session goes to app servers without that header.
	MaxData int `yaml:"-"`
}

// CookieOptions is the session cookie. It is always HttpOnly.
type CookieOptions struct {
	// Its name. Default "": __Host-session where the attributes allow it, else session.
	Name string `yaml:"name"`
	// Sent with cross-site requests: lax (with links alone), strict (never) or none (always; needs secure). Default lax.
	SameSite SameSite `yaml:"same_site"`
	// Sent over TLS alone. Default true. Hazard: false lets anybody on the network take the session.
	Insecure bool `yaml:"secure" config:"not"`
	// The domain whose sub-domains get the cookie, too, and where a session made in it is valid. Default "": this host alone.
	// Hazard: each app in the domain can log its users in at all others. Sessions made under a domain end when it is changed or removed.
	Domain string `yaml:"domain"`
	// The path below which the cookie is sent. Default /.
	Path string `yaml:"path"`
	// A cookie of its own for each site that shows this one in a frame (CHIPS); needs secure, and same_site: none to be sent
	// there. Default false.
	Partitioned bool `yaml:"partitioned"`
}

// SameSite is the cookie's attribute of that name.
type SameSite string

// The values of SameSite.
const (
	SameSiteLax    SameSite = "lax"
	SameSiteStrict SameSite = "strict"
	SameSiteNone   SameSite = "none"
)

// Values lists the attribute's values.
func (SameSite) Values() []string {
	return []string{string(SameSiteLax), string(SameSiteStrict), string(SameSiteNone)}
}

// mode is the attribute as net/http writes it.
func (s SameSite) mode() http.SameSite {
	switch s {
	case SameSiteStrict:
		return http.SameSiteStrictMode
	case SameSiteNone:
		return http.SameSiteNoneMode
	}
	return http.SameSiteLaxMode
}

// CSRFOptions refuses cross-origin requests that would act in a user's name.
type CSRFOptions struct {
	// Off takes all of them.
	Off bool `yaml:"-" config:"isoff"`
	// Other origins that may: https://app.example.com, or https://*.example.com for all names below example.com, one label or
	// more. Default: none.
	TrustedOrigins []string `yaml:"trusted_origins"`
}

// AssertionOptions is a short-lived EdDSA JWT (sub, sid, aud, exp) in the header Headgate-Assertion to the
// app server, whose key set the admin listener serves.
type AssertionOptions struct {
	// The Ed25519 private key, PEM (PKCS #8). Required.
	KeyFile string `yaml:"key_file" config:"path" want:"a path" required:"make one with: openssl genpkey -algorithm ed25519"`
	// Who the token is for (aud). Default: the name of the route's upstream.
	Audience string `yaml:"audience"`
	// How long a token is valid. Default 1m.
	TTL time.Duration `yaml:"ttl"`
}

// SetDefaults fills in what is zero and has a default. The cookie's name is left
// to [CookieOptions.ResolveName], as it follows the other attributes.
func (s *Settings) SetDefaults() {
	s.Cookie.SetDefaults()
	orDefault(&s.AbsoluteTimeout, DefaultAbsoluteTimeout)
	orDefault(&s.IdleTimeout, min(DefaultIdleTimeout, max(s.AbsoluteTimeout, 0)))
	orDefault(&s.RotateEvery, DefaultRotateEvery)
	orDefault(&s.MaxPerUser, DefaultMaxPerUser)
	orDefault(&s.MaxData, DefaultMaxData)
	if s.Assertion != (AssertionOptions{}) {
		s.Assertion.SetDefaults()
	}
}

// SetDefaults fills in what is zero, but for the name.
func (c *CookieOptions) SetDefaults() {
	orDefault(&c.SameSite, SameSiteLax)
	orDefault(&c.Path, "/")
}

// ResolveName gives a cookie without a name the one that its other attributes allow.
func (c *CookieOptions) ResolveName() {
	switch {
	case c.Name != "":
	case c.hostOnly():
		c.Name = "__Host-session"
	default:
		c.Name = "session"
	}
}

// hostOnly reports whether browsers keep the cookie under a __Host- name.
func (c *CookieOptions) hostOnly() bool { return !c.Insecure && c.Domain == "" && c.Path == "/" }

// SetDefaults fills in what is zero and has a default.
func (a *AssertionOptions) SetDefaults() { orDefault(&a.TTL, DefaultAssertionTTL) }

func orDefault[T comparable](v *T, def T) {
	var zero T
	if *v == zero {
		*v = def
	}
}

// touchEvery is how often at most a session's last use is written: once a minute,
// or ten times per timeout where that is short. A session ends up to that much earlier
// than IdleTimeout after its last request, and never later.
func (s *Settings) touchEvery() time.Duration {
	return min(time.Minute, s.IdleTimeout/10)
}
