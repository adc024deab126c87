package session_test

import (
	"fmt"
	"net/http"
	"net/http/httptest"
	"regexp"
	"strings"
	"testing"
	"time"

	"github.com/labstack/echo/v4"

	"github.com/headgate/headgate/middleware/session"
)

// asks returns what the browser's cookie opens at a host.
func (b *browser) asks(t testing.TB, m *session.Manager, host string) string {
	t.Helper()
	other := browser{cookie: b.current(), host: host}
	return other.start(t, m, optional).user()
}

// Number 11 of issue 14: who may register as 1 at blog.test is not user 1 at admin.test.
func TestASessionIsValidAtTheHostItWasMadeAt(t *testing.T) {
	t.Parallel()
	onEachStore(t, session.Settings{}, func(t *testing.T, f *fleet) {
		b := browser{host: "blog.test"}
		b.login(t, f.instances[0], "1")
		for host, want := range map[string]string{
			"blog.test": "1", "blog.test:8443": "1", "BLOG.Test.": "1",
			"admin.test": "-", "www.blog.test": "-", "test": "-", "": "-", "log.test": "-", "not a host": "-",
		} {
			r := httptest.NewRequest(http.MethodGet, "/", nil)
			r.Host = host
			r.AddCookie(b.current())
			rs := f.instances[1].ForRequest(r, optional)
			if err := rs.Load(t.Context()); err != nil {
				t.Fatal(err)
			}
			if got := (&request{rs: rs}).user(); got != want {
				t.Errorf("at %q: user %s, want %s", host, got, want)
			}
		}
		// A stolen anonymous session is bound as well.
		cart := browser{host: "blog.test"}
		cart.start(t, f.instances[0], optional).mustAnswer(session.HeaderMerge, `{"role":"admin"}`)
		if got := cart.asks(t, f.instances[1], "admin.test"); got != "-" {
			t.Errorf("an anonymous session of blog.test is user %q at admin.test", got)
		}
		// What the app at another host does with the cookie leaves the session alone.
		elsewhere := browser{cookie: b.current(), host: "admin.test"}
		elsewhere.start(t, f.instances[0], logout).mustAnswer()
		elsewhere.cookie = b.current()
		elsewhere.login(t, f.instances[0], "2")
		wantUser(t, b.get(t, f.instances[1]), "1")
		if got := elsewhere.asks(t, f.instances[1], "blog.test"); got != "-" {
			t.Errorf("a session of admin.test is user %s at blog.test", got)
		}
	})
}

func TestASessionOfACookieWithADomainIsValidInTheDomain(t *testing.T) {
	t.Parallel()
	for _, domain := range []string{"shop.test", ".Shop.Test"} {
		onEachStore(t, session.Settings{Cookie: session.CookieOptions{Name: cookieName[len("__Host-"):], Domain: domain}}, func(t *testing.T, f *fleet) {
			b := browser{host: "www.shop.test"}
			b.login(t, f.instances[0], "1")
			outside := browser{host: "blog.test"} // whose browsers drop the cookie, but other clients need not
			outside.login(t, f.instances[0], "1")
			for _, c := range []struct {
				by         *browser
				host, want string
			}{
				{&b, "shop.test", "1"}, {&b, "a.b.shop.test:81", "1"}, {&b, "blog.test", "-"}, {&b, "myshop.test", "-"},
				{&outside, "blog.test", "1"}, {&outside, "shop.test", "-"}, {&outside, "www.shop.test", "-"},
			} {
				if got := c.by.asks(t, f.instances[1], c.host); got != c.want {
					t.Errorf("domain %s: made at %s, at %s user %s, want %s", domain, c.by.host, c.host, got, c.want)
				}
			}
		})
	}
}

// A domain that is added ends no session: each stays valid at its own host. One that is removed
// ends what was made under it, as any host in the domain may have made it.
func TestAChangeOfTheCookiesDomain(t *testing.T) {
	t.Parallel()
	name := "session"
	without := session.Settings{Cookie: session.CookieOptions{Name: name}}
	onEachStore(t, without, func(t *testing.T, f *fleet) {
		with, err := f.instances[1].With(session.Settings{Cookie: session.CookieOptions{Name: name, Domain: "shop.test"}})
		if err != nil {
			t.Fatal(err)
		}
		old, b := browser{host: "www.shop.test"}, browser{host: "www.shop.test"}
		old.login(t, f.instances[0], "1")
		b.login(t, with, "2")
		for _, c := range []struct {
			by         *browser
			at         *session.Manager
			host, want string
		}{
			{&old, with, "www.shop.test", "1"}, {&old, with, "blog.shop.test", "-"}, {&old, with, "shop.test", "-"},
			{&b, with, "blog.shop.test", "2"}, {&b, f.instances[0], "blog.shop.test", "-"}, {&b, f.instances[0], "www.shop.test", "-"},
		} {
			if got := c.by.asks(t, c.at, c.host); got != c.want {
				t.Errorf("user %s at %s: %s, want %s", c.by.host, c.host, got, c.want)
			}
		}
		// Logout everywhere reaches the user's sessions from before.
		again := browser{host: "www.shop.test"}
		again.login(t, with, "1")
		again.start(t, with, optional).mustAnswer(session.HeaderLogout, "everywhere")
		wantUser(t, old.get(t, with), "-")
	})
}

// The users of one name at two hosts are two users: neither ends the other's sessions.
func TestUsersOfOneNameAtTwoHostsDoNotEndEachOthersSessions(t *testing.T) {
	t.Parallel()
	onEachStore(t, session.Settings{MaxPerUser: 2}, func(t *testing.T, f *fleet) {
		admin := browser{host: "admin.test"}
		admin.login(t, f.instances[0], "1")
		wantUser(t, admin.get(t, f.instances[0]), "1")
		attacker := make([]browser, 4)
		for i := range attacker {
			f.clock.Advance(time.Second)
			attacker[i].host = "blog.test"
			attacker[i].login(t, f.instances[i%2], "1")
		}
		for i, want := range []string{"-", "-", "1", "1"} {
			if got := attacker[i].asks(t, f.instances[1], "blog.test"); got != want {
				t.Errorf("login %d at blog.test: user %s, want %s", i, got, want)
			}
		}
		attacker[3].start(t, f.instances[1], optional).mustAnswer(session.HeaderLogout, "everywhere")
		if got := attacker[2].asks(t, f.instances[1], "blog.test"); got != "-" {
			t.Errorf("after a logout everywhere: user %s", got)
		}
		wantUser(t, admin.get(t, f.instances[1]), "1")

		// An operator sees and ends the sessions of all hosts.
		attacker[0].login(t, f.instances[0], "1")
		if all := list(t, f.instances[1], "1"); len(all) != 2 || all[0].Host != "blog.test" || all[1].Host != "admin.test" {
			t.Errorf("listed: %+v", all)
		}
		if n, err := f.instances[1].RevokeUser(t.Context(), "1"); n != 2 || err != nil {
			t.Errorf("revoked %d, %v", n, err)
		}
		wantUser(t, admin.get(t, f.instances[0]), "-")
	})
}

// What the index says of a session's host outlives the end that a later login gives it.
func TestAReplacedSessionStaysAtItsHost(t *testing.T) {
	t.Parallel()
	onEachStore(t, session.Settings{}, func(t *testing.T, f *fleet) {
		b := browser{host: "admin.test"}
		b.login(t, f.instances[0], "1")
		replaced := browser{cookie: b.current(), host: b.host}
		b.login(t, f.instances[0], "1")
		b.get(t, f.instances[0])
		attacker := browser{host: "blog.test"}
		attacker.login(t, f.instances[0], "1")
		attacker.start(t, f.instances[1], optional).mustAnswer(session.HeaderLogout, "everywhere")
		wantUser(t, replaced.start(t, f.instances[1], optional), "1")
	})
}

// A record from before records had a host ends at its first use; a request with another token
// for it ends nothing.
func TestARecordWithoutAHostEndsAtItsFirstUse(t *testing.T) {
	t.Parallel()
	f := redisFleet(t, session.Settings{})
	var b, cart browser
	b.login(t, f.instances[0], "42")
	cart.start(t, f.instances[0], optional).mustAnswer(session.HeaderMerge, `{"cart":1}`)
	redis := f.server.Client
	keys := redis.Keys(t.Context(), "headgate:session:*").Val()
	if len(keys) != 2 {
		t.Fatalf("keys: %v", keys)
	}
	for _, key := range keys {
		text := redis.Get(t.Context(), key).Val()
		before := regexp.MustCompile(`"host":"[^"]*",`).ReplaceAllString(text, "")
		if before == text {
			t.Fatalf("no host in %s", text)
		}
		redis.Set(t.Context(), key, before, time.Hour)
	}
	if n := len(list(t, f.instances[0], "42")); n != 0 {
		t.Errorf("%d sessions are listed that are valid nowhere", n)
	}
	forged := browser{cookie: &http.Cookie{Name: cookieName, Value: b.value()[:24] + strings.Repeat("A", 43)}}
	wantUser(t, forged.start(t, f.instances[0], optional), "-")
	if n := len(redis.Keys(t.Context(), "headgate:session:*").Val()); n != 2 {
		t.Errorf("a made-up token has ended a session: %d are left", n)
	}
	for _, by := range []*browser{&b, &cart} {
		wantUser(t, by.start(t, f.instances[1], optional), "-")
		wantUser(t, by.start(t, f.instances[0], optional), "-")
	}
	if left := redis.Keys(t.Context(), "headgate:session*").Val(); len(left) != 0 {
		t.Errorf("left behind: %v", left)
	}
	b.login(t, f.instances[0], "42")
	wantUser(t, b.get(t, f.instances[1]), "42")
}

// As a library: one Echo app that serves two hosts.
func TestAnEchoAppsSessionsAreBoundToTheirHost(t *testing.T) {
	t.Parallel()
	m := newManager(t, session.Options{})
	e := echo.New()
	e.Use(m.Middleware(session.Route{Mode: session.Login}))
	e.POST("/login", func(c echo.Context) error { return session.LogIn(c, "1") })
	e.GET("/", func(c echo.Context) error {
		s, err := session.Get(c) // gorilla's way
		if err != nil {
			return err
		}
		return c.String(http.StatusOK, fmt.Sprint(session.Current(c) != nil, s.IsNew))
	})
	w := httptest.NewRecorder()
	e.ServeHTTP(w, httptest.NewRequest(http.MethodPost, "http://blog.test/login", nil))
	for host, want := range map[string]string{"blog.test": "true false", "admin.test": "false true"} {
		r, answer := httptest.NewRequest(http.MethodGet, "http://"+host+"/", nil), httptest.NewRecorder()
		r.AddCookie(w.Result().Cookies()[0])
		if e.ServeHTTP(answer, r); answer.Body.String() != want {
			t.Errorf("%s: %s, want %s", host, answer.Body, want)
		}
	}
}
