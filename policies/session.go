package policies

import "time"

// Session configures the sessions that all instances share.
type Session struct {
	// The cookie that carries the session's token.
	Cookie Cookie `yaml:"cookie"`
	// Secrets that sign the cookie, of 32 bytes or more each: the first signs, all verify, so a new one goes in front.
	// Junk is then refused before Redis is asked. Default: none, the token's 256 random bits stand alone.
	Secrets []string `yaml:"secrets" config:"secret" want:"a secret"`
	// Files that hold one secret each, instead of secrets; one or a list.
	SecretsFile []string `yaml:"secrets_file" config:"path" want:"a path"`
	// How long a session lasts that nobody uses. Default 30m.
	IdleTimeout time.Duration `yaml:"idle_timeout"`
	// How long a session lasts at most, used or not; also the cookie's Max-Age. Default 12h.
	AbsoluteTimeout time.Duration `yaml:"absolute_timeout"`
	// How often a session gets a new ID. 0 is only at login and when the app asks. Default 1h.
	RotateEvery time.Duration `yaml:"rotate_every"`
	// How many sessions a user may have at once, 1 to 1000; the oldest ends when there are more. Default 10.
	MaxPerUser int `yaml:"max_per_user"`
	// Where a browser is sent when a session is required, with ?next=/local/path added; API clients get 401. Default /login.
	LoginPath string `yaml:"login_path"`
	// Protection from cross-site requests: on, unless this is off. Default: on, with no trusted origins.
	CSRF *CSRF `yaml:"csrf"`
	// Tell the app server who is logged in with a signed token, too. Default: off.
	Assertion *Assertion `yaml:"assertion"`
}

// Cookie is the session cookie. It is always HttpOnly.
type Cookie struct {
	// Its name. Default "": __Host-session where the attributes allow it, else session.
	Name string `yaml:"name"`
	// Sent with cross-site requests: lax (with links alone), strict (never) or none (always; needs secure). Default lax.
	SameSite SameSite `yaml:"same_site"`
	// Sent over TLS alone. Default true. Hazard: false lets anybody on the network take the session.
	Secure bool `yaml:"secure"`
	// The domain whose sub-domains get the cookie, too. Default "": this host alone.
	Domain string `yaml:"domain"`
	// The path below which the cookie is sent. Default /.
	Path string `yaml:"path"`
}

// CSRF refuses cross-origin requests that would act in a user's name.
type CSRF struct {
	// Other origins that may: https://app.example.com. Default: none.
	TrustedOrigins []string `yaml:"trusted_origins"`
}

// Assertion is a short-lived EdDSA JWT (sub, sid, aud, exp) in the header Headgate-Assertion to the
// app server, whose key set the admin listener serves.
type Assertion struct {
	// The Ed25519 private key, PEM (PKCS #8). Required.
	KeyFile string `yaml:"key_file" config:"path" want:"a path"`
	// Who the token is for (aud). Default: the name of the route's upstream.
	Audience string `yaml:"audience"`
	// How long a token is valid. Default 1m.
	TTL time.Duration `yaml:"ttl"`
}
