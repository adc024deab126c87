package server

import (
	"net/http"

	"github.com/headgate/headgate/middleware/session"
	"github.com/headgate/headgate/policies"
)

// What a policy says, in the words of the packages that do it. They know
// nothing of policies, so that they can be used without them.

func sessionSettings(p policies.Session) session.Settings {
	set := session.Settings{
		Cookie: session.CookieOptions{
			Name:     p.Cookie.Name,
			Domain:   p.Cookie.Domain,
			Path:     p.Cookie.Path,
			SameSite: sameSite(p.Cookie.SameSite),
			Insecure: !p.Cookie.Secure,
		},
		IdleTimeout:     p.IdleTimeout,
		AbsoluteTimeout: p.AbsoluteTimeout,
		RotateEvery:     p.RotateEvery,
		MaxPerUser:      p.MaxPerUser,
		LoginPath:       p.LoginPath,
		CSRF:            session.CSRFOptions{Off: p.CSRF == nil},
	}
	if set.RotateEvery == 0 { // never: no session gets that old
		set.RotateEvery = set.AbsoluteTimeout
	}
	for _, s := range p.Secrets {
		set.Secrets = append(set.Secrets, []byte(s))
	}
	if p.CSRF != nil {
		set.CSRF.TrustedOrigins = p.CSRF.TrustedOrigins
	}
	return set
}

func sameSite(s policies.SameSite) http.SameSite {
	switch s {
	case policies.SameSiteStrict:
		return http.SameSiteStrictMode
	case policies.SameSiteNone:
		return http.SameSiteNoneMode
	}
	return http.SameSiteLaxMode
}
