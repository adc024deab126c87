package session_test

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"net/http"
	"net/http/httptest"
	"os"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/headgate/headgate/internal/redistest"
	"github.com/headgate/headgate/middleware/session"
	"github.com/headgate/headgate/middleware/store"
)

// clock is the time of all instances of a fleet.
type clock struct{ ns atomic.Int64 }

func newClock() *clock {
	c := new(clock)
	c.ns.Store(time.Date(2026, 1, 2, 3, 4, 5, 0, time.UTC).UnixNano())
	return c
}

func (c *clock) Now() time.Time          { return time.Unix(0, c.ns.Load()) }
func (c *clock) Advance(d time.Duration) { c.ns.Add(int64(d)) }

// fleet is two instances over one store.
type fleet struct {
	instances [2]*session.Manager
	clock     *clock
	server    *redistest.Server // nil in memory
}

// onEachStore runs a test on two instances over a real Redis, and on the
// in-process store.
func onEachStore(t *testing.T, settings session.Settings, test func(t *testing.T, f *fleet)) {
	t.Helper()
	t.Run("redis", func(t *testing.T) {
		t.Parallel()
		test(t, redisFleet(t, settings))
	})
	t.Run("memory", func(t *testing.T) {
		t.Parallel()
		f := &fleet{clock: newClock()}
		f.instances[0] = newManager(t, session.Options{Settings: settings, Now: f.clock.Now})
		second, err := f.instances[0].With(settings)
		if err != nil {
			t.Fatal(err)
		}
		f.instances[1] = second
		test(t, f)
	})
}

func redisFleet(t testing.TB, settings session.Settings) *fleet {
	t.Helper()
	f := &fleet{clock: newClock(), server: redistest.Start(t)}
	for i := range f.instances {
		f.instances[i] = newManager(t, session.Options{Redis: openRedis(t, f.server.URL), Settings: settings, Now: f.clock.Now})
	}
	return f
}

// patient is a timeout that a machine busy with other tests does not reach.
const patient = 5 * time.Second

func openRedis(t testing.TB, url string) *store.Redis { return openRedisWithin(t, url, patient) }

func openRedisWithin(t testing.TB, url string, timeout time.Duration) *store.Redis {
	t.Helper()
	r, err := store.Open(store.Options{URL: url, Timeout: timeout})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { r.Close() })
	return r
}

func newManager(t testing.TB, o session.Options) *session.Manager {
	t.Helper()
	m, err := session.New(o)
	if err != nil {
		t.Fatal(err)
	}
	return m
}

// browser keeps the cookie that it was last given, as browsers do.
type browser struct {
	mu     sync.Mutex
	cookie *http.Cookie
	ctx    context.Context // of its requests; nil: Background
	host   string          // that it asks; "": shop.example
}

func (b *browser) current() *http.Cookie {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.cookie
}

func (b *browser) value() string {
	if c := b.current(); c != nil {
		return c.Value
	}
	return ""
}

func (b *browser) accept(c *http.Cookie) {
	if c == nil {
		return
	}
	b.mu.Lock()
	defer b.mu.Unlock()
	b.cookie = c
	if c.MaxAge < 0 {
		b.cookie = nil
	}
}

// request is one request on its way: what a gateway knows before the app answers.
type request struct {
	t  testing.TB
	by *browser
	rs *session.RequestSession
}

// start sends a request with the browser's cookie as far as the app server.
func (b *browser) start(t testing.TB, m *session.Manager, route session.Route) *request {
	t.Helper()
	method := http.MethodGet
	if route.Mode == session.Login || route.Mode == session.Logout {
		method = http.MethodPost
	}
	r := httptest.NewRequest(method, "http://"+cmp.Or(b.host, "shop.example")+"/cart", nil)
	r.Header.Set("User-Agent", "Test/1.0")
	r.RemoteAddr = "192.0.2.7:4711"
	if c := b.current(); c != nil {
		r.AddCookie(&http.Cookie{Name: c.Name, Value: c.Value})
	}
	rs := m.ForRequest(r, route)
	if b.ctx == nil {
		b.ctx = context.Background()
	}
	_ = rs.Load(b.ctx)
	return &request{t: t, by: b, rs: rs}
}

func (r *request) session() *session.Session { return r.rs.Session() }

// user is who the app server is told is logged in; "-" for no session at all.
func (r *request) user() string {
	if r.session() == nil {
		return "-"
	}
	return r.session().User
}

func (r *request) data() string {
	if r.session() == nil {
		return ""
	}
	return string(r.session().Data())
}

// answer lets the app server answer with these headers, "Name", "value"...
func (r *request) answer(headers ...string) error {
	h := make(http.Header)
	for i := 0; i < len(headers); i += 2 {
		h.Add(headers[i], headers[i+1])
	}
	actions, err := session.ParseActions(h, r.rs.Mode())
	if err != nil {
		return err
	}
	cookie, err := r.rs.Commit(r.by.ctx, actions)
	r.by.accept(cookie)
	return err
}

func (r *request) mustAnswer(headers ...string) {
	r.t.Helper()
	if err := r.answer(headers...); err != nil {
		r.t.Fatalf("answer %q: %v", headers, err)
	}
}

// get is a whole request on an optional route.
func (b *browser) get(t testing.TB, m *session.Manager) *request {
	t.Helper()
	r := b.start(t, m, optional)
	r.mustAnswer()
	return r
}

// login logs the browser in.
func (b *browser) login(t testing.TB, m *session.Manager, user string) {
	t.Helper()
	b.start(t, m, login).mustAnswer(session.HeaderLogin, user)
}

var (
	optional = session.Route{Mode: session.Optional}
	required = session.Route{Mode: session.Required}
	login    = session.Route{Mode: session.Login}
	logout   = session.Route{Mode: session.Logout}
)

func wantUser(t testing.TB, r *request, want string) {
	t.Helper()
	if got := r.user(); got != want {
		t.Fatalf("user is %q, want %q (error %v)", got, want, r.rs.Err())
	}
}

func wantData(t testing.TB, r *request, want string) {
	t.Helper()
	if got := r.data(); got != want {
		t.Fatalf("data is %s, want %s", got, want)
	}
}

// cluster is shared: a Cluster takes some seconds to form.
var cluster struct {
	once sync.Once
	c    *redistest.Cluster
	err  error
}

func startCluster(t testing.TB) *redistest.Cluster {
	t.Helper()
	cluster.once.Do(func() { cluster.c, cluster.err = redistest.LaunchCluster(context.Background()) })
	if cluster.err != nil {
		t.Fatal(cluster.err)
	}
	return cluster.c
}

func TestMain(m *testing.M) {
	code := m.Run()
	if cluster.c != nil {
		cluster.c.Close()
	}
	os.Exit(code)
}

var errUnexpected = errors.New("unexpected")

func unexpected(format string, args ...any) error {
	return fmt.Errorf("%w: "+format, append([]any{errUnexpected}, args...)...)
}
