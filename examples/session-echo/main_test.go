package main

import (
	"context"
	"encoding/json"
	"io"
	"net/http"
	"net/http/cookiejar"
	"net/http/httptest"
	"net/url"
	"strings"
	"testing"
	"time"

	"github.com/headgate/headgate/gateway/server"
	"github.com/headgate/headgate/internal/redistest"
	"github.com/headgate/headgate/middleware/store"
	"github.com/headgate/headgate/policies"
)

// browser keeps cookies. All servers here are at 127.0.0.1, and cookies don't
// know ports, so it takes those of one to the other.
type browser struct {
	t *testing.T
	http.Client
}

func newBrowser(t *testing.T) *browser {
	t.Helper()
	jar, err := cookiejar.New(nil)
	if err != nil {
		t.Fatal(err)
	}
	return &browser{t, http.Client{Jar: jar}}
}

func (b *browser) get(url string) (int, string) {
	b.t.Helper()
	response, err := b.Get(url)
	if err != nil {
		b.t.Fatal(err)
	}
	defer response.Body.Close()
	body, err := io.ReadAll(response.Body)
	if err != nil {
		b.t.Fatal(err)
	}
	return response.StatusCode, string(body)
}

func (b *browser) post(target, user string) int {
	b.t.Helper()
	response, err := b.PostForm(target, url.Values{"user": {user}})
	if err != nil {
		b.t.Fatal(err)
	}
	response.Body.Close()
	return response.StatusCode
}

// visit returns what the app's / says.
func (b *browser) visit(app string) (user string, visits int) {
	b.t.Helper()
	status, body := b.get(app + "/")
	var said struct {
		User   string
		Visits int
	}
	if err := json.Unmarshal([]byte(body), &said); err != nil || status != 200 {
		b.t.Fatalf("visit: %d %s", status, body)
	}
	return said.User, said.Visits
}

// start serves an instance of the app.
func start(t *testing.T, redisURL string) (url string) {
	t.Helper()
	manager, closeManager, err := openSessions(store.Options{URL: redisURL, Timeout: 10 * time.Second}) // two busy cores are not an outage
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(closeManager)
	s := httptest.NewServer(newApp(manager))
	t.Cleanup(s.Close)
	return s.URL
}

func TestSessionOfAVisitorWhoLogsInAndOut(t *testing.T) {
	t.Parallel()
	redis := redistest.Start(t)
	for name, urls := range map[string]func(*testing.T) [2]string{
		"in process":             func(t *testing.T) [2]string { u := start(t, ""); return [2]string{u, u} },
		"two instances on Redis": func(t *testing.T) [2]string { return [2]string{start(t, redis.URL), start(t, redis.URL)} },
	} {
		t.Run(name, func(t *testing.T) {
			app := urls(t)
			b := newBrowser(t)
			for want := 1; want <= 3; want++ {
				if user, visits := b.visit(app[want%2]); user != "" || visits != want {
					t.Errorf("visit %d: user %q, %d visits", want, user, visits)
				}
			}
			if status, _ := b.get(app[0] + "/mine"); status != 401 {
				t.Errorf("/mine without login: %d, want 401", status)
			}
			if status := b.post(app[0]+"/login", "ada"); status != 204 {
				t.Fatalf("login: %d", status)
			}
			if user, visits := b.visit(app[1]); user != "ada" || visits != 4 {
				t.Errorf("after the login: user %q, %d visits; want ada, and the visits from before", user, visits)
			}
			if status, body := b.get(app[1] + "/mine"); status != 200 || body != "yours, ada\n" {
				t.Errorf("/mine: %d %q", status, body)
			}
			if status := b.post(app[1]+"/logout", ""); status != 204 {
				t.Fatalf("logout: %d", status)
			}
			if user, visits := b.visit(app[0]); user != "" || visits != 1 {
				t.Errorf("after the logout: user %q, %d visits", user, visits)
			}
		})
	}
}

func TestSessionIsSharedWithAGateway(t *testing.T) {
	t.Parallel()
	redis := redistest.Start(t)

	// Behind the gateway stands an app that logs in who asks, and says what the gateway told it.
	behind := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if user := r.FormValue("user"); user != "" {
			w.Header().Set("Headgate-Login", user)
			w.Header().Set("Headgate-Session-Merge", `{"visits":41}`)
			return
		}
		io.WriteString(w, r.Header.Get("Headgate-User")+" "+r.Header.Get("Headgate-Session"))
	}))
	t.Cleanup(behind.Close)
	gateway := startGateway(t, redis.URL, behind.URL)
	app := start(t, redis.URL)

	b := newBrowser(t)
	if status := b.post(gateway+"/login", "grace"); status != 200 {
		t.Fatalf("login at the gateway: %d", status)
	}
	if user, visits := b.visit(app); user != "grace" || visits != 42 {
		t.Errorf("in the app: user %q, %d visits; want grace, 42", user, visits)
	}
	if _, said := b.get(gateway + "/"); said != `grace {"visits":42}` {
		t.Errorf("behind the gateway: %s", said)
	}
	if status := b.post(app+"/logout", ""); status != 204 {
		t.Fatalf("logout in the app: %d", status)
	}
	if _, said := b.get(gateway + "/"); strings.Contains(said, "grace") {
		t.Errorf("logged out in the app, and behind the gateway still: %s", said)
	}
}

const policy = `
version: 1
server: {listen: "127.0.0.1:0", admin: {listen: off}, access_log: off}
redis: {url: "${REDIS}", timeout: 10s}
upstreams: {app: {servers: ["${APP}"]}}
session: {cookie: {secure: false}}
defaults: {upstream: app}
routes:
  - {name: login, path: /login, session: login}
  - {name: rest,  path: /*,     session: optional}
`

func startGateway(t *testing.T, redisURL, app string) (url string) {
	t.Helper()
	p, problems := policies.Parse("headgate.yaml", []byte(policy), policies.LoadOptions{LookupEnv: func(name string) (string, bool) {
		value, ok := map[string]string{"REDIS": redisURL, "APP": app}[name]
		return value, ok
	}})
	if err := problems.Err(); err != nil {
		t.Fatal(err)
	}
	s, err := server.New(server.Options{Policy: p})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { s.Shutdown(context.Background()) })
	if err := s.Start(); err != nil {
		t.Fatal(err)
	}
	return "http://" + s.Addr()
}

func TestBadRedisURLStopsTheStart(t *testing.T) {
	t.Parallel()
	if err := run(t.Context(), "127.0.0.1:0", "http://redis"); err == nil {
		t.Error("started with a URL that is not Redis'")
	}
}
