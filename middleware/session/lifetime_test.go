package session_test

import (
	"context"
	"errors"
	"net/http"
	"testing"
	"time"

	"github.com/headgate/headgate/middleware/session"
)

const day = 24 * time.Hour

func TestALoginLastsAsLongAsTheAppAsksAndTheSettingsAllow(t *testing.T) {
	t.Parallel()
	for name, c := range map[string]struct {
		remember time.Duration
		lifetime string // "": no header
		maxAge   int    // of the cookie; 0: it has none
		idle     time.Duration
		lasts    time.Duration
	}{
		"no header":                     {30 * day, "", 12 * 3600, 30 * time.Minute, 12 * time.Hour},
		"weeks":                         {30 * day, "14d", 14 * 86400, 14 * day, 14 * day},
		"the most":                      {30 * day, "30d", 30 * 86400, 30 * day, 30 * day},
		"more than the most":            {30 * day, "400d", 30 * 86400, 30 * day, 30 * day},
		"weeks, which are not allowed":  {0, "14d", 12 * 3600, 30 * time.Minute, 12 * time.Hour},
		"less than the absolute":        {30 * day, "2h", 2 * 3600, 30 * time.Minute, 2 * time.Hour},
		"less than the idle":            {0, "10m", 600, 10 * time.Minute, 10 * time.Minute},
		"the browser's":                 {30 * day, "session", 0, 30 * time.Minute, 12 * time.Hour},
		"the browser's, none to exceed": {0, "session", 0, 30 * time.Minute, 12 * time.Hour},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			onEachStore(t, session.Settings{Remember: c.remember, RotateEvery: time.Hour}, func(t *testing.T, f *fleet) {
				headers := []string{session.HeaderLogin, "42"}
				if c.lifetime != "" {
					headers = append(headers, session.HeaderLifetime, c.lifetime)
				}
				idle, used := new(browser), new(browser)
				for _, b := range []*browser{idle, used} {
					b.start(t, f.instances[0], login).mustAnswer(headers...)
					if got := b.current().MaxAge; got != c.maxAge {
						t.Fatalf("the cookie's Max-Age is %d, want %d", got, c.maxAge)
					}
				}
				begun := f.clock.Now()
				used.get(t, f.instances[1])
				f.clock.Advance(c.idle - 2*time.Minute)
				if c.lasts > 2*time.Hour && c.lasts < day { // the ID is renewed meanwhile
					for f.clock.Now().Sub(begun) < c.lasts-2*time.Minute {
						used.get(t, f.instances[0])
						f.clock.Advance(min(20*time.Minute, c.lasts-2*time.Minute-f.clock.Now().Sub(begun)))
					}
					if got, left := used.current().MaxAge, int((c.lasts-f.clock.Now().Sub(begun))/time.Second); c.maxAge == 0 && got != 0 || c.maxAge != 0 && got < left {
						t.Errorf("the renewed cookie's Max-Age is %d, with %d seconds left", got, left)
					}
				}
				if c.lasts >= day {
					wantUser(t, idle.start(t, f.instances[1], required), "42")
				}
				wantUser(t, used.start(t, f.instances[1], required), "42")
				f.clock.Advance(3 * time.Minute)
				if f.clock.Now().Sub(begun) >= c.lasts {
					wantUser(t, used.start(t, f.instances[1], required), "-")
				}
				wantUser(t, idle.start(t, f.instances[0], required), "-")
			})
		})
	}
}

func TestARememberedLoginCountsAmongTheUsersSessions(t *testing.T) {
	t.Parallel()
	onEachStore(t, session.Settings{Remember: 30 * day, MaxPerUser: 2}, func(t *testing.T, f *fleet) {
		b := new(browser)
		b.start(t, f.instances[0], login).mustAnswer(session.HeaderLogin, "42", session.HeaderLifetime, "30d")
		f.clock.Advance(3 * day) // far beyond idle and absolute timeout
		wantUser(t, b.get(t, f.instances[1]), "42")
		for range 2 {
			f.clock.Advance(time.Minute)
			new(browser).login(t, f.instances[1], "42")
		}
		wantUser(t, b.get(t, f.instances[0]), "-")
		list, err := f.instances[0].List(context.Background(), "42")
		if err != nil || len(list) != 2 {
			t.Errorf("%d sessions, %v", len(list), err)
		}
	})
}

func TestWhatCannotBeALifetimeIsBadGateway(t *testing.T) {
	t.Parallel()
	for _, value := range []string{"", "30", "-1d", "0s", "1ms", "d", "30 d", "Session", "?1", "30d, 30d", "99999999999d"} {
		h := http.Header{"Headgate-Login": {"42"}, "Headgate-Login-Lifetime": {value}}
		if _, err := session.ParseActions(h, session.Login); !errors.Is(err, session.ErrMalformed) || session.Status(err) != http.StatusBadGateway {
			t.Errorf("%q: %v", value, err)
		}
	}
	lone := http.Header{"Headgate-Login-Lifetime": {"30d"}}
	for _, mode := range []session.Mode{session.Login, session.Optional} {
		if _, err := session.ParseActions(lone, mode); !errors.Is(err, session.ErrMalformed) {
			t.Errorf("without a login, on %s: %v", mode, err)
		}
	}
}

func TestAPartitionedCookieSaysSo(t *testing.T) {
	t.Parallel()
	m := newManager(t, session.Options{Settings: session.Settings{Cookie: session.CookieOptions{Partitioned: true, SameSite: session.SameSiteNone}}})
	b := new(browser)
	b.login(t, m, "42")
	if c := b.current(); !c.Partitioned || !c.Secure {
		t.Errorf("the cookie is %v", c)
	}
	if _, err := session.New(session.Options{Settings: session.Settings{Cookie: session.CookieOptions{Partitioned: true, Insecure: true}}}); err == nil {
		t.Error("a partitioned cookie without Secure is taken")
	}
}

func TestTrustedOriginsMayHaveAWildcard(t *testing.T) {
	t.Parallel()
	m := newManager(t, session.Options{Settings: session.Settings{CSRF: session.CSRFOptions{TrustedOrigins: []string{"https://*.example.com", "https://app.test"}}}})
	for origin, passes := range map[string]bool{
		"https://a.example.com": true, "https://a.b.example.com": true, "https://A.Example.com:443": true, "https://app.test": true,
		"https://example.com": false, "http://a.example.com": false, "https://a.example.com:8443": false, "https://evil-example.com": false,
		"https://.example.com": false, "https://evil.test/.example.com": false, "https://evil.test:1.example.com": false, "https://x.app.test": false, "null": false, "": true,
	} {
		b := new(browser)
		b.login(t, m, "42")
		headers := []string{"Sec-Fetch-Site", "cross-site"}
		if origin == "" {
			headers = nil
		} else {
			headers = append(headers, "Origin", origin)
		}
		if d := decide(t, m, b, required, newRequest("POST", "/orders", headers...)); d.Pass() != passes {
			t.Errorf("%q: %d", origin, d.Status)
		}
	}
	for _, origin := range []string{"*", "https://*", "https://*.", "https://*.com", "https://a.*.com", "*.example.com"} {
		if _, err := session.New(session.Options{Settings: session.Settings{CSRF: session.CSRFOptions{TrustedOrigins: []string{origin}}}}); err == nil {
			t.Errorf("%q is taken", origin)
		}
	}
}
