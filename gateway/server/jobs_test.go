package server_test

import (
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync"
	"testing"

	"github.com/headgate/headgate/internal/redistest"
)

// jobApp is an app server that notes what it is asked, and answers as it is told.
type jobApp struct {
	*httptest.Server
	mu     sync.Mutex
	got    []*jobRequest
	answer func(w http.ResponseWriter, r *jobRequest)
}

type jobRequest struct {
	*http.Request
	body string
}

func newJobApp(t testing.TB, answer func(w http.ResponseWriter, r *jobRequest)) *jobApp {
	t.Helper()
	a := &jobApp{answer: answer}
	a.Server = httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		body, _ := io.ReadAll(r.Body)
		got := &jobRequest{r, string(body)}
		a.mu.Lock()
		a.got = append(a.got, got)
		a.mu.Unlock()
		if user := r.Header.Get("X-Log-In"); user != "" {
			w.Header().Set("Headgate-Login", user)
		}
		if a.answer != nil {
			a.answer(w, got)
			return
		}
		fmt.Fprintf(w, "%s %s", r.Method, r.RequestURI)
	}))
	t.Cleanup(a.Close)
	return a
}

func (a *jobApp) requests() []*jobRequest {
	a.mu.Lock()
	defer a.mu.Unlock()
	return a.got[:len(a.got):len(a.got)]
}

// job is what the gateway says of one.
type jobState struct {
	ID, Status, Location, Result string
	Place, Attempts              int64
	Estimate                     int64 `json:"estimate_seconds"`
	Answered                     int   `json:"result_status"`
}

func (g *gateway) jobIn(a *answer) (j jobState) {
	g.t.Helper()
	if err := json.Unmarshal([]byte(a.text), &j); err != nil {
		g.t.Fatalf("%v in %d %s", err, a.StatusCode, a.text)
	}
	return j
}

// take sends a request that becomes a job.
func (g *gateway) take(method, target, body string, headers ...string) jobState {
	g.t.Helper()
	a := g.send(method, target, strings.NewReader(body), headers...)
	if a.StatusCode != http.StatusAccepted {
		g.t.Fatalf("%s %s: %d %s", method, target, a.StatusCode, a.text)
	}
	j := g.jobIn(a)
	if a.Header.Get("Location") != "/.jobs/"+j.ID || j.Location != "/.jobs/"+j.ID {
		g.t.Errorf("Location %q of %s", a.Header.Get("Location"), a.text)
	}
	return j
}

// done waits for a job, and returns it when it is over.
func (g *gateway) done(j jobState, headers ...string) jobState {
	g.t.Helper()
	for range 20 {
		a := g.do("GET", j.Location, append(headers, "Prefer", "wait=10")...)
		if a.StatusCode != 200 {
			g.t.Fatalf("GET %s: %d %s", j.Location, a.StatusCode, a.text)
		}
		switch now := g.jobIn(a); now.Status {
		case "done", "failed", "cancelled":
			return now
		}
	}
	g.t.Fatalf("%s is never over", j.ID)
	return j
}

// queued is a policy with a queue, in memory.
func queued(app *jobApp, more string) string {
	return fmt.Sprintf(`
upstreams: {shop: {servers: [%q]}}
clients: {acme: {key_sha256: "2c70e12b7a0646f92279f427c7b38e7334d8e5389cff167a1dc30e73f826b683", plan: ""}} # the key is "key"
queues: {images: {concurrency: 2, retries: 3, backoff: {first: 10ms, most: 20ms}, timeout: 20s, max_body: 64KiB}}
session: {cookie: {secure: false}}
routes:
  - {name: resize, path: /images/:id/resize, upstream: shop, queue: images, session: optional}
  - {name: report, path: /reports/*, upstream: shop, queue: {name: images, when: asked}, strip_prefix: /reports}
  - {name: login, path: /login, upstream: shop, session: login, methods: [POST], csrf: off}
  - {name: logout, path: /logout, upstream: shop, session: logout, methods: [POST], csrf: off}
  - {name: rest, path: /*, upstream: shop}
%s`, app.URL, more)
}

func TestARequestBecomesAJobThatTheAppIsAskedFor(t *testing.T) {
	t.Parallel()
	app := newJobApp(t, func(w http.ResponseWriter, r *jobRequest) {
		w.Header().Set("Content-Type", "image/png")
		w.Header().Set("Set-Cookie", "a=b")
		w.Header().Set("Headgate-Login", "7")
		w.Header().Set("Headgate-Cost", "x")
		w.Header().Set("X-Made", "yes")
		w.WriteHeader(http.StatusCreated)
		fmt.Fprint(w, "small "+r.body)
	})
	g := start(t, queued(app, ""))
	a := g.send("POST", "/images/7/resize?w=10;h=2", strings.NewReader("picture"), "Cookie", "x=y", "Authorization", "Basic abc",
		"X-Api-Key", "unknown", "X_Api_Key", "k", "Expect", "100-continue", "Keep-Alive", "1", "Headgate-User", "7", "X-Forwarded-For", "8.8.8.8", "X-Note", "n", "Prefer", "return=minimal, respond-async")
	if a.StatusCode != 202 || a.Header.Get("Preference-Applied") != "respond-async" || a.Header.Get("Retry-After") == "" || a.Header.Get("Cache-Control") != "private, no-store" ||
		a.Header.Get("Content-Type") != "application/json" {
		t.Fatalf("%d %v %s", a.StatusCode, a.Header, a.text)
	}
	job := g.done(g.jobIn(a))
	if job.Status != "done" || job.Attempts != 1 || job.Answered != 201 || job.Result != job.Location+"/result" {
		t.Errorf("%+v", job)
	}
	if len(app.requests()) != 1 {
		t.Fatalf("the app got %d requests", len(app.requests()))
	}
	r := app.requests()[0]
	if r.Method != "POST" || r.RequestURI != "/images/7/resize?w=10;h=2" || r.body != "picture" || r.Host != g.Addr() {
		t.Errorf("the app got %s %s of %s with %q", r.Method, r.RequestURI, r.Host, r.body)
	}
	for name, want := range map[string]string{
		"Cookie": "", "Authorization": "", "X-Api-Key": "", "X_api_key": "", "Keep-Alive": "", "Headgate-User": "", "Headgate-Session": "", "Expect": "",
		"X-Forwarded-For": "127.0.0.1", "X-Note": "n", "Prefer": "",
		"Headgate-Job": job.ID, "Headgate-Attempt": "1", "Idempotency-Key": `"` + job.ID + `"`,
	} {
		if got := strings.Join(r.Header[http.CanonicalHeaderKey(name)], "|"); got != want {
			t.Errorf("%s: %q, want %q", name, got, want)
		}
	}
	res := g.do("GET", job.Result)
	if res.StatusCode != 201 || res.text != "small picture" || res.Header.Get("Content-Type") != "image/png" || res.Header.Get("X-Made") != "yes" {
		t.Errorf("the result: %d %v %s", res.StatusCode, res.Header, res.text)
	}
	for name := range res.Header {
		if name == "Set-Cookie" || strings.HasPrefix(name, "Headgate") {
			t.Errorf("the result has %s", name)
		}
	}
	if got := res.Header.Get("Cache-Control"); got != "private, no-store" {
		t.Errorf("the result may be stored: %q", got)
	}
	head := g.do("HEAD", job.Result)
	if head.StatusCode != 201 || head.text != "" || head.ContentLength != int64(len("small picture")) {
		t.Errorf("HEAD: %d, %d bytes", head.StatusCode, head.ContentLength)
	}
}

func TestAJobIsTakenOnlyWhereTheClientAsks(t *testing.T) {
	t.Parallel()
	app := newJobApp(t, nil)
	g := start(t, queued(app, ""))
	if a := g.do("GET", "/reports/year?x=1"); a.StatusCode != 200 || a.text != "GET /year?x=1" {
		t.Errorf("without Prefer: %d %s", a.StatusCode, a.text)
	}
	job := g.done(g.take("GET", "/reports/year?x=1", "", "Prefer", "respond-async; foo"))
	if a := g.do("GET", job.Result); a.text != "GET /year?x=1" {
		t.Errorf("the job asked for %q", a.text)
	}
	for _, tc := range [][]string{{"HEAD"}, {"OPTIONS"}} {
		if a := g.do(tc[0], "/images/7/resize"); a.StatusCode != 200 {
			t.Errorf("%s: %d", tc[0], a.StatusCode)
		}
	}
	if a := g.do("POST", "/nowhere"); a.StatusCode != 200 {
		t.Errorf("the other route: %d", a.StatusCode)
	}
}

func TestWhatIsNoJobIsRefused(t *testing.T) {
	t.Parallel()
	app := newJobApp(t, nil)
	g := start(t, queued(app, ""))
	if a := g.send("POST", "/images/1/resize", strings.NewReader(strings.Repeat("x", 64<<10+1))); a.StatusCode != 413 {
		t.Errorf("a body above max_body: %d", a.StatusCode)
	}
	if a := g.send("POST", "/images/1/resize", io.MultiReader(strings.NewReader(strings.Repeat("x", 64<<10+1)))); a.StatusCode != 413 {
		t.Errorf("a chunked body above max_body: %d", a.StatusCode)
	}
	for _, key := range []string{`"`, `"a`, "a b", `a,b`, "", strings.Repeat("k", 300), "7;x"} {
		if a := g.do("POST", "/images/1/resize", "Idempotency-Key", key); a.StatusCode != 400 {
			t.Errorf("Idempotency-Key %s: %d", key, a.StatusCode)
		}
	}
	if a := g.do("POST", "/images/1/resize", "Idempotency-Key", "a", "Idempotency-Key", "b"); a.StatusCode != 400 {
		t.Errorf("two keys: %d", a.StatusCode)
	}
	if n := len(app.requests()); n != 0 {
		t.Errorf("the app got %d requests", n)
	}
}

func TestAnIdempotencyKeyIsOneJobOfItsOwner(t *testing.T) {
	t.Parallel()
	app := newJobApp(t, nil)
	g := start(t, queued(app, ""))
	first := g.take("POST", "/images/1/resize", "a", "Idempotency-Key", `"k-1"`)
	if again := g.take("POST", "/images/1/resize", "a", "Idempotency-Key", "k-1"); again.ID != first.ID {
		t.Errorf("the same key is another job")
	}
	if a := g.send("POST", "/images/1/resize", strings.NewReader("b"), "Idempotency-Key", "k-1"); a.StatusCode != 422 {
		t.Errorf("another body: %d %s", a.StatusCode, a.text)
	}
	if a := g.send("POST", "/images/2/resize", strings.NewReader("a"), "Idempotency-Key", "k-1"); a.StatusCode != 422 {
		t.Errorf("another path of the route: %d %s", a.StatusCode, a.text)
	}
	if other := g.take("POST", "/images/1/resize", "b", "Idempotency-Key", "k-1", "X-Api-Key", "key"); other.ID == first.ID {
		t.Errorf("another owner's key is the same job")
	}
	g.done(first)
	if again := g.take("POST", "/images/1/resize", "a", "Idempotency-Key", "k-1"); again.ID != first.ID || again.Status != "done" {
		t.Errorf("after it is done the same key is %+v", again)
	}
	for _, r := range app.requests() {
		if r.Header.Get("Idempotency-Key") != `"k-1"` {
			t.Errorf("the app got the key %q", r.Header.Get("Idempotency-Key"))
		}
	}
}

func TestOnlyWhoAskedMayAsk(t *testing.T) {
	t.Parallel()
	app := newJobApp(t, nil)
	g := start(t, queued(app, "")+"server: {listen: \"127.0.0.1:0\", admin: {listen: \"127.0.0.1:0\"}, trusted_proxies: [127.0.0.1]}\n")
	alice := g.logIn("alice")
	bob := g.logIn("bob")
	jobs := map[string]jobState{}
	as := map[string][]string{
		"alice": {"Cookie", alice, "X-Forwarded-For", "192.0.2.1"}, "bob": {"Cookie", bob, "X-Forwarded-For", "192.0.2.1"},
		"acme": {"X-Api-Key", "key", "X-Forwarded-For", "192.0.2.1"}, "here": {"X-Forwarded-For", "192.0.2.1"}, "there": {"X-Forwarded-For", "192.0.2.2"},
	}
	for who, headers := range as {
		jobs[who] = g.take("POST", "/images/1/resize", "", headers...)
	}
	for owner, job := range jobs {
		for who, headers := range as {
			want := 404
			// Who has logged in since, or has got a key, still has the address that asked.
			if who == owner || owner == "here" && (who == "alice" || who == "bob" || who == "acme") {
				want = 200
			}
			if a := g.do("GET", job.Location, headers...); a.StatusCode != want {
				t.Errorf("%s asks for %s's job: %d", who, owner, a.StatusCode)
			}
			if want == 200 {
				continue
			}
			if a := g.do("GET", job.Location+"/result", headers...); a.StatusCode != 404 {
				t.Errorf("%s asks for %s's result: %d", who, owner, a.StatusCode)
			}
			if a := g.do("DELETE", job.Location, headers...); a.StatusCode != 404 {
				t.Errorf("%s cancels %s's job: %d", who, owner, a.StatusCode)
			}
		}
	}
	for who, headers := range as {
		if job := g.done(jobs[who], headers...); job.Status != "done" {
			t.Errorf("%s's job: %+v", who, job)
		}
	}
	users := map[string]int{}
	for _, r := range app.requests() {
		if r.Header.Get("Headgate-Job") != "" {
			users[r.Header.Get("Headgate-User")+"/"+r.Header.Get("Headgate-Client")+"/"+r.Header.Get("X-Forwarded-For")]++
		}
	}
	if want := map[string]int{"alice//192.0.2.1": 1, "bob//192.0.2.1": 1, "/acme/192.0.2.1": 1, "//192.0.2.1": 1, "//192.0.2.2": 1}; fmt.Sprint(users) != fmt.Sprint(want) {
		t.Errorf("the app was told %v, want %v", users, want)
	}
}

// logIn returns the cookie of a new session of a user.
func (g *gateway) logIn(user string) string {
	g.t.Helper()
	a := g.do("POST", "/login", "X-Log-In", user)
	cookie, _, ok := strings.Cut(a.Header.Get("Set-Cookie"), ";")
	if !ok {
		g.t.Fatalf("no session: %d %v", a.StatusCode, a.Header)
	}
	return cookie
}

func TestThePathsOfJobs(t *testing.T) {
	t.Parallel()
	app := newJobApp(t, nil)
	g := start(t, queued(app, ""))
	job := g.done(g.take("POST", "/images/1/resize", ""))
	nobody := "images-" + strings.Repeat("0", 26)
	for _, tc := range []struct {
		method, path string
		status       int
		allow        string
	}{
		{"GET", "/.jobs", 404, ""},
		{"GET", "/.jobs/", 404, ""},
		{"GET", "/.jobs/x", 404, ""},
		{"GET", "/.jobs/" + nobody, 404, ""},
		{"GET", "/.jobs/" + nobody + "/result", 404, ""},
		{"GET", "/.jobs/" + strings.Replace(nobody, "images", "ghosts", 1), 404, ""},
		{"GET", job.Location + "/other", 404, ""},
		{"GET", job.Location + "/result/x", 404, ""},
		{"GET", "/x/../" + job.Location, 200, ""},
		{"HEAD", job.Location, 200, ""},
		{"OPTIONS", job.Location, 204, "GET, HEAD, DELETE, OPTIONS"},
		{"OPTIONS", job.Location + "/result", 204, "GET, HEAD, OPTIONS"},
		{"POST", job.Location, 405, "GET, HEAD, DELETE, OPTIONS"},
		{"PUT", job.Location + "/result", 405, "GET, HEAD, OPTIONS"},
		{"DELETE", job.Location + "/result", 405, "GET, HEAD, OPTIONS"},
		{"GET", "/.jobsx", 200, ""},
	} {
		a := g.do(tc.method, tc.path)
		if a.StatusCode != tc.status || a.Header.Get("Allow") != tc.allow {
			t.Errorf("%s %s: %d, Allow %q", tc.method, tc.path, a.StatusCode, a.Header.Get("Allow"))
		}
		if tc.method == "HEAD" && a.text != "" {
			t.Errorf("HEAD has a body: %q", a.text)
		}
	}
}

func TestJobsAreAskedForOnTheHostsOfRoutesAlone(t *testing.T) {
	t.Parallel()
	app := newJobApp(t, nil)
	g := start(t, fmt.Sprintf(`
upstreams: {shop: {servers: [%q]}}
queues: {images: {}}
limits: {few: {key: ip, requests: 20, window: 1h}}
defaults: {limits: few}
routes:
  - {path: /*, host: shop.example, upstream: shop, queue: images}
  - {path: /*, host: "*.shop.example", upstream: shop}
`, app.URL))
	id := "/.jobs/images-" + strings.Repeat("0", 26)
	for host, detail := range map[string]string{
		"shop.example": "There is no such job.", "SHOP.example.": "There is no such job.", "a.b.shop.example": "There is no such job.",
		"other.example": "No route of this gateway fits the request.", "example": "No route of this gateway fits the request.",
	} {
		if a := g.do("GET", id, "Host", host); a.StatusCode != 404 || a.problem(t).Detail != detail {
			t.Errorf("%s: %d %s", host, a.StatusCode, a.text)
		}
	}
	for range 20 {
		if a := g.do("GET", id, "Host", "shop.example"); a.StatusCode == 429 {
			return
		}
	}
	t.Error("the limits of defaults do not hold below jobs.path")
}

func TestAJobIsTriedAgainUntilItsAttemptsAreUsedUp(t *testing.T) {
	t.Parallel()
	app := newJobApp(t, func(w http.ResponseWriter, r *jobRequest) {
		switch {
		case r.URL.Path == "/images/1/resize" && r.Header.Get("Headgate-Attempt") != "3":
			w.WriteHeader(503)
		case r.URL.Path == "/images/2/resize":
			w.WriteHeader(500)
			fmt.Fprint(w, "broken")
		case r.URL.Path == "/images/3/resize":
			w.WriteHeader(422)
			fmt.Fprint(w, "no picture")
		}
	})
	g := start(t, queued(app, ""))
	for id, want := range map[int]jobState{1: {Status: "done", Attempts: 3, Answered: 200}, 2: {Status: "failed", Attempts: 4, Answered: 500}, 3: {Status: "failed", Attempts: 1, Answered: 422}} {
		job := g.done(g.take("POST", fmt.Sprintf("/images/%d/resize", id), ""))
		if job.Status != want.Status || job.Attempts != want.Attempts || job.Answered != want.Answered {
			t.Errorf("%d: %+v", id, job)
		}
		if a := g.do("GET", job.Result); a.StatusCode != want.Answered {
			t.Errorf("%d: the result is %d", id, a.StatusCode)
		}
	}
	keys := map[string]map[string]bool{}
	for _, r := range app.requests() {
		if keys[r.URL.Path] == nil {
			keys[r.URL.Path] = map[string]bool{}
		}
		keys[r.URL.Path][r.Header.Get("Idempotency-Key")] = true
	}
	for path, k := range keys {
		if len(k) != 1 {
			t.Errorf("%s: the attempts had the keys %v", path, k)
		}
	}
}

func TestAJobIsCancelledByWhoAskedAndByTheEndOfHisSessions(t *testing.T) {
	t.Parallel()
	for _, redis := range []bool{false, true} {
		hold := make(chan struct{})
		app := newJobApp(t, func(w http.ResponseWriter, r *jobRequest) {
			switch r.URL.Path {
			case "/logout":
				w.Header().Set("Headgate-Logout", "everywhere")
			case "/images/0/resize":
				<-hold
			}
		})
		policy := queued(app, "")
		policy = strings.Replace(policy, "concurrency: 2", "concurrency: 1", 1)
		if redis {
			policy += fmt.Sprintf("redis: {url: %q, timeout: 5s}\n", redistest.Start(t).URL)
		}
		g := start(t, policy)
		first := g.take("POST", "/images/0/resize", "") // holds the only place
		eventually(t, "it runs", func() bool { return g.jobIn(g.do("GET", first.Location)).Status == "running" })
		alice, bob := g.logIn("alice"), g.logIn("bob")
		own := g.take("POST", "/images/1/resize", "")
		ofAlice := g.take("POST", "/images/2/resize", "", "Cookie", alice)
		ofBob := g.take("POST", "/images/3/resize", "", "Cookie", bob)
		if place := g.jobIn(g.do("GET", ofBob.Location, "Cookie", bob)).Place; place != 3 {
			t.Errorf("the place of the last one is %d", place)
		}
		if a := g.do("DELETE", ofAlice.Location, "Cookie", alice, "Origin", "https://evil.example", "Sec-Fetch-Site", "cross-site"); a.StatusCode != 403 {
			t.Errorf("another site cancels: %d", a.StatusCode)
		}
		if a := g.do("DELETE", own.Location); a.StatusCode != 200 || g.jobIn(a).Status != "cancelled" {
			t.Errorf("DELETE: %d %s", a.StatusCode, a.text)
		}
		if a := g.do("DELETE", own.Location); a.StatusCode != 200 || g.jobIn(a).Status != "cancelled" {
			t.Errorf("DELETE once more: %d %s", a.StatusCode, a.text)
		}
		g.do("POST", "/logout", "Cookie", alice)
		if a := g.do("GET", ofAlice.Location, "Cookie", g.logIn("alice")); g.jobIn(a).Status != "cancelled" {
			t.Errorf("after a logout everywhere: %s", a.text)
		}
		if a := g.do("GET", ofBob.Location, "Cookie", bob); g.jobIn(a).Status != "queued" {
			t.Errorf("another user's: %s", a.text)
		}
		if a := g.admin("DELETE", "/sessions?user=bob"); a.StatusCode != 200 {
			t.Fatalf("%d %s", a.StatusCode, a.text)
		}
		if a := g.do("GET", ofBob.Location, "Cookie", g.logIn("bob")); g.jobIn(a).Status != "cancelled" {
			t.Errorf("after an operator's end of all sessions: %s", a.text)
		}
		close(hold)
		g.done(first)
		for _, r := range app.requests() {
			if path := r.URL.Path; strings.HasPrefix(path, "/images/") && path != "/images/0/resize" {
				t.Errorf("a cancelled job was done: %s", path)
			}
		}
	}
}
