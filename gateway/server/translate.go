package server

import (
	"net/http"
	"time"

	"github.com/headgate/headgate/middleware/proxy"
	"github.com/headgate/headgate/middleware/session"
	"github.com/headgate/headgate/policies"
)

// What a policy says, in the words of the packages that do it. They know
// nothing of policies, so that they can be used without them.

func upstreamConfig(u *policies.Upstream) proxy.Config {
	c := proxy.Config{
		Balance:        proxy.Balance(u.Balance),
		Protocol:       proxy.Protocol(u.Protocol),
		Timeout:        noneIfZero(u.Timeout),
		ConnectTimeout: u.ConnectTimeout,
		IdleTimeout:    u.IdleTimeout,
		MaxConnections: u.MaxConnections,
		Retries:        retries(u),
		RetryBudget:    u.RetryBudget,
		SlowStart:      u.SlowStart,
	}
	for _, s := range u.Servers {
		c.Servers = append(c.Servers, proxy.Server{URL: s.URL, Weight: s.Weight})
	}
	if h := u.HealthCheck; h != nil {
		c.HealthCheck = proxy.HealthCheck{
			Path: h.Path, Interval: h.Interval, Timeout: h.Timeout,
			HealthyAfter: h.HealthyAfter, UnhealthyAfter: h.UnhealthyAfter,
		}
		if h.Expect != 0 {
			c.HealthCheck.Expect = []int{h.Expect}
		}
	}
	if e := u.Ejection; e != nil {
		c.Ejection = proxy.Ejection{Failures: e.Failures, For: e.For}
	} else {
		c.Ejection = proxy.Ejection{Off: true}
	}
	if t := u.TLS; t != nil {
		c.TLS = proxy.TLS{CAFile: t.CAFile, ServerName: t.ServerName, InsecureSkipVerify: t.InsecureSkipVerify}
	}
	return c
}

// retries is how many there may be: none without a budget for them.
func retries(u *policies.Upstream) int {
	if u.RetryBudget == 0 {
		return 0
	}
	return u.Retries
}

// noneIfZero turns a policy's "0 is no bound" into the proxy's.
func noneIfZero(d time.Duration) time.Duration {
	if d == 0 {
		return -1
	}
	return d
}

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
