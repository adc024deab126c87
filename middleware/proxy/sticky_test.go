package proxy_test

import (
	"bytes"
	"io"
	"net/http"
	"strings"
	"sync/atomic"
	"testing"

	"github.com/headgate/headgate/middleware/proxy"
)

func secret(b byte) []byte { return bytes.Repeat([]byte{b}, 32) }

// byCookie is an upstream whose servers are chosen by cookie.
func byCookie(secrets [][]byte, all ...proxy.Server) proxy.Config {
	return proxy.Config{Servers: all, Balance: proxy.Cookie, Cookie: proxy.AffinityCookie{Name: "srv", Secrets: secrets}, Retries: 1}
}

// sticky asks with a cookie ("" is none), and returns the answer and the cookie that it sets, without attributes.
func sticky(t testing.TB, url, cookie string) (a answer, set string) {
	t.Helper()
	req, err := http.NewRequest("GET", url, nil)
	if err != nil {
		t.Fatal(err)
	}
	if cookie != "" {
		req.Header.Set("Cookie", cookie)
	}
	a = do(t, req)
	if lines := a.header["Set-Cookie"]; len(lines) == 1 {
		set, _, _ = strings.Cut(lines[0], ";")
	}
	return a, set
}

func TestClientStaysWithTheServerOfItsCookie(t *testing.T) {
	t.Parallel()
	seen := make(chan []string, 100)
	app := func(name string) proxy.Server {
		return proxy.Server{URL: origin(t, func(w http.ResponseWriter, r *http.Request) {
			seen <- r.Header["Cookie"]
			_, _ = io.WriteString(w, name)
		}).URL}
	}
	a, b, c := app("a"), app("b"), app("c")
	u := newUpstream(t, byCookie([][]byte{secret(1)}, a, b, c), proxy.Options{})
	gw := front(t, u.Handler(proxy.RouteOptions{}))
	// Another instance of the gateway, whose policy has the servers in another order.
	other := front(t, newUpstream(t, byCookie([][]byte{secret(1)}, c, a, b), proxy.Options{}).Handler(proxy.RouteOptions{}))
	cookies := map[string]bool{}
	for range 3 {
		first, set := sticky(t, gw.URL, "")
		if <-seen; set == "" || first.header.Get("Cache-Control") != "private, no-store" {
			t.Fatalf("%+v", first)
		}
		if line := first.header.Get("Set-Cookie"); line != set+"; Path=/; HttpOnly; SameSite=Lax" || len(set) != len("srv=")+22 {
			t.Errorf("the cookie is %s", line)
		}
		cookies[set] = true
		for range 3 {
			for _, url := range []string{gw.URL, other.URL} {
				again, set2 := sticky(t, url, "x=1; "+set+"; y=2")
				if again.body != first.body || again.header["Set-Cookie"] != nil || again.header["Cache-Control"] != nil {
					t.Errorf("the client of %s came to %s, with %q", first.body, again.body, set2)
				}
				if got := <-seen; len(got) != 1 || strings.Contains(got[0], "srv") || !strings.HasPrefix(got[0], "x=1;") || !strings.HasSuffix(got[0], "y=2") {
					t.Errorf("the app is sent the cookies %q", got)
				}
			}
		}
	}
	if len(cookies) != 3 {
		t.Errorf("new clients were given %d of 3 servers", len(cookies))
	}
}

func TestForeignCookiesAreIgnored(t *testing.T) {
	t.Parallel()
	srv := proxy.Server{URL: named(t, "a").URL}
	gw := gateway(t, byCookie([][]byte{secret(1)}, srv), proxy.RouteOptions{})
	_, good := sticky(t, gw.URL, "")
	_, others := sticky(t, gateway(t, byCookie([][]byte{secret(2)}, srv), proxy.RouteOptions{}).URL, "")
	for _, cookie := range []string{others, good + "x", good[:len(good)-1], "srv=", "srv=http://127.0.0.1:1", "SRV=" + good[4:]} {
		if _, set := sticky(t, gw.URL, cookie); set != good {
			t.Errorf("%s: set %q, want %q", cookie, set, good)
		}
	}
	if _, set := sticky(t, gw.URL, "srv=junk; "+good); set != "" {
		t.Errorf("of two cookies the one that is ours counts, but %q was set", set)
	}
}

func TestCookieOfAnOlderSecretIsReadAndReplaced(t *testing.T) {
	t.Parallel()
	a, b := proxy.Server{URL: named(t, "a").URL}, proxy.Server{URL: named(t, "b").URL}
	old := gateway(t, byCookie([][]byte{secret(1)}, a, b), proxy.RouteOptions{})
	gw := gateway(t, byCookie([][]byte{secret(2), secret(1)}, a, b), proxy.RouteOptions{})
	for range 2 {
		before, cookie := sticky(t, old.URL, "")
		for range 2 {
			after, replaced := sticky(t, gw.URL, cookie)
			if after.body != before.body || replaced == "" || replaced == cookie {
				t.Errorf("the client of %s came to %s, with %q", before.body, after.body, replaced)
			}
			if again, set := sticky(t, gw.URL, replaced); again.body != before.body || set != "" {
				t.Errorf("then to %s, with %q", again.body, set)
			}
		}
	}
}

// A client whose server is not there is given another one, and stays there, also when its own is back.
func TestClientWhoseServerIsNotThereIsGivenAnother(t *testing.T) {
	t.Parallel()
	for name, leave := range map[string]func(u *proxy.Upstream, cfg proxy.Config, sick *atomic.Bool) error{
		"removed": func(u *proxy.Upstream, cfg proxy.Config, _ *atomic.Bool) error {
			cfg.Servers = cfg.Servers[1:]
			return u.Update(cfg)
		},
		"drained": func(u *proxy.Upstream, cfg proxy.Config, _ *atomic.Bool) error {
			cfg.Servers = []proxy.Server{{URL: cfg.Servers[0].URL, Weight: -1}, cfg.Servers[1]}
			return u.Update(cfg)
		},
		"broken": func(_ *proxy.Upstream, _ proxy.Config, sick *atomic.Bool) error {
			sick.Store(true)
			return nil
		},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			var sick atomic.Bool
			a := origin(t, func(w http.ResponseWriter, r *http.Request) {
				if sick.Load() {
					panic(http.ErrAbortHandler)
				}
				_, _ = io.WriteString(w, "a")
			})
			cfg := byCookie([][]byte{secret(1)}, proxy.Server{URL: a.URL}, proxy.Server{URL: named(t, "b").URL})
			u := newUpstream(t, cfg, proxy.Options{})
			gw := front(t, u.Handler(proxy.RouteOptions{}))
			home, cookie := sticky(t, gw.URL, "")
			if home.body != "a" {
				t.Fatalf("%+v", home)
			}
			if err := leave(u, cfg, &sick); err != nil {
				t.Fatal(err)
			}
			during, moved := sticky(t, gw.URL, cookie)
			if during.body != "b" || moved == "" || moved == cookie {
				t.Errorf("came to %s, with %q", during.body, moved)
			}
			sick.Store(false)
			if err := u.Update(cfg); err != nil {
				t.Fatal(err)
			}
			for range 3 {
				if after, set := sticky(t, gw.URL, moved); after.body != "b" || set != "" {
					t.Errorf("moved on to %s, with %q", after.body, set)
				}
				if old, set := sticky(t, gw.URL, cookie); old.body != "a" || set != "" { // another tab that has kept it
					t.Errorf("the old cookie led to %s, with %q", old.body, set)
				}
			}
		})
	}
}

func TestClientWhoseServerIsFullKeepsItsCookie(t *testing.T) {
	t.Parallel()
	begun, release := make(chan bool), make(chan bool)
	a := origin(t, func(w http.ResponseWriter, r *http.Request) {
		if r.URL.Path == "/slow" {
			begun <- true
			<-release
		}
		_, _ = io.WriteString(w, "a")
	})
	cfg := byCookie([][]byte{secret(1)}, proxy.Server{URL: a.URL}, proxy.Server{URL: named(t, "b").URL})
	cfg.MaxConnections = 1
	gw := gateway(t, cfg, proxy.RouteOptions{})
	_, cookie := sticky(t, gw.URL, "")
	done := make(chan answer)
	go func() {
		got, _ := sticky(t, gw.URL+"/slow", cookie)
		done <- got
	}()
	<-begun
	if got, set := sticky(t, gw.URL, cookie); got.body != "b" || set != "" {
		t.Errorf("came to %s, with %q", got.body, set)
	}
	release <- true
	if got := <-done; got.body != "a" {
		t.Errorf("%+v", got)
	}
}

func TestCookieOfABackupIsNotFollowedWhileOthersAreThere(t *testing.T) {
	t.Parallel()
	a, b := named(t, "a").URL, named(t, "b").URL
	cfg := byCookie([][]byte{secret(1)}, proxy.Server{URL: a, Weight: -1}, proxy.Server{URL: b, Backup: true})
	u := newUpstream(t, cfg, proxy.Options{})
	gw := front(t, u.Handler(proxy.RouteOptions{}))
	during, cookie := sticky(t, gw.URL, "")
	cfg.Servers = []proxy.Server{{URL: a}, {URL: b, Backup: true}}
	if err := u.Update(cfg); err != nil {
		t.Fatal(err)
	}
	after, set := sticky(t, gw.URL, cookie)
	if during.body != "b" || after.body != "a" || set == "" {
		t.Errorf("%s, then %s with %q", during.body, after.body, set)
	}
}

func TestCookieIsForHTTPSAloneWhereTheClientSpeaksIt(t *testing.T) {
	t.Parallel()
	app := origin(t, func(w http.ResponseWriter, r *http.Request) {
		w.Header().Add("Set-Cookie", "srv=of-the-app")
		w.Header().Add("Set-Cookie", "own=1")
		if r.URL.Path == "/304" {
			w.WriteHeader(http.StatusNotModified)
		}
	})
	gw := gateway(t, byCookie([][]byte{secret(1)}, proxy.Server{URL: app.URL}), proxy.RouteOptions{Scheme: func(*http.Request) string { return "https" }})
	got, _ := sticky(t, gw.URL, "")
	lines := got.header["Set-Cookie"]
	if len(lines) != 2 || lines[0] != "own=1" || !strings.Contains(lines[1], "; Secure") {
		t.Errorf("set %q", lines)
	}
	if got, _ := sticky(t, gw.URL+"/304", ""); len(got.header["Set-Cookie"]) != 1 || got.header.Get("Cache-Control") != "" {
		t.Errorf("a 304 sets %q", got.header)
	}
}

func TestCookieMistakes(t *testing.T) {
	t.Parallel()
	one := proxy.Server{URL: "http://127.0.0.1:9"}
	short := byCookie([][]byte{[]byte("short")}, one)
	if _, err := proxy.New(proxy.Options{Config: short, Logger: quiet()}); err == nil || !strings.Contains(err.Error(), "5 bytes") {
		t.Errorf("a short secret: %v", err)
	}
	if err := byCookie(nil, one).Check(); err == nil || !strings.Contains(err.Error(), "without a secret") {
		t.Errorf("no secret: %v", err)
	}
}
