package server_test

import (
	"context"
	"fmt"
	"net/http"
	"slices"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/headgate/headgate/gateway/server"
	"github.com/headgate/headgate/internal/redistest"
)

// failure is one of Redis, as a row of docs/failures.md: how it is brought about, and what each of
// the gateway's failureColumns does meanwhile and afterwards.
type failure struct {
	name  string // in the names of tests
	title string
	// start runs Redis, and returns what two gateways are given for it, and how it fails and is
	// mended. A fail of nil changes nothing while the gateways run.
	start func(t *testing.T) redisToFail
	does  map[string]behaviour // by feature
}

type redisToFail struct {
	urls       [2]string // of gateway A and B
	fail, mend func()
	skew       time.Duration // of B's clock
	returns    bool          // Redis comes back by itself, and the features are asked then
	// settle waits before the failure until what was written is where it must be.
	settle func()
}

// behaviour is what a feature does in a failure.
type behaviour struct {
	cell string // the word for it in the table
	says string // what that word means
	// during is asked while Redis fails, after once it is mended. Nil is not asked.
	during, after func(f *failed)
}

// failureColumns are the table's columns.
var failureColumns = []string{"limits", "sessions", "cache", "purges", "blocks and bans", "jobs", "admin"}

// failed is two gateways whose Redis fails, and what was done before it did.
type failed struct {
	*testing.T
	a, b    *gateway
	cookie  string
	version *atomic.Int64 // of the page that the app server has
	able    *atomic.Bool  // the app server does jobs
	job     string        // where one that was taken before is asked for
}

const failurePolicy = `
server: {listen: "127.0.0.1:0", admin: {listen: "127.0.0.1:0"}, trusted_proxies: [127.0.0.0/8]}
redis: {url: "%s", timeout: 250ms, write_timeout: 1s}
upstreams: {shop: {servers: ["%s"], retries: 0}}
queues: {tasks: {backoff: {first: 100ms, most: 200ms}, retries: 1000}}
session: {cookie: {secure: false}}
caches: {products: {ttl: 10m, tags: [products]}}
limits:
  ten: {algorithm: fixed_window, requests: 10, window: 1h}
  strict: {requests: 1, window: 1h, ban: {after: 2, for: 1h}}
routes:
  - {path: /login, methods: [POST], upstream: shop, session: login}
  - {path: /private, upstream: shop, session: required}
  - {path: /limited, upstream: shop, limits: ten}
  - {path: /strict, upstream: shop, limits: strict}
  - {path: /task, methods: [POST], upstream: shop, queue: tasks}
  - {path: /page, upstream: shop, cache: products}
  - {path: /other, upstream: shop, cache: products}
  - {path: /*, upstream: shop}
`

const (
	limitedClient = "192.0.2.10"
	blockedClient = "192.0.2.66"
	bannedClient  = "192.0.2.77"
)

func (r redisToFail) gateways(t *testing.T) *failed {
	f := &failed{T: t, version: new(atomic.Int64), able: new(atomic.Bool)}
	shop := appFunc(t, func(w http.ResponseWriter, r *http.Request) {
		switch {
		case r.URL.Path == "/login":
			w.Header().Set("Headgate-Login", r.FormValue("user"))
		case r.URL.Path == "/task" && !f.able.Load():
			w.WriteHeader(http.StatusServiceUnavailable)
		}
		fmt.Fprintf(w, "version %d for %q", f.version.Load(), r.Header.Get("Headgate-User"))
	})
	f.a = start(t, fmt.Sprintf(failurePolicy, r.urls[0], shop.URL))
	f.b = start(t, fmt.Sprintf(failurePolicy, r.urls[1], shop.URL), func(o *server.Options) {
		if r.skew != 0 {
			o.Now = func() time.Time { return time.Now().Add(r.skew) }
		}
	})
	return f
}

// prepare does what must outlive the failure: four requests of a limit of ten, a login, a page in
// the cache, a block, a ban, and a job that the app server can't do yet.
func (f *failed) prepare() {
	both := []*gateway{f.a, f.b}
	for _, g := range both {
		eventually(f, "a gateway has its Redis", func() bool { return g.metric("headgate_redis_available") == 1 })
	}
	eventually(f, "a block is in force", func() bool {
		status, _, _ := f.a.block(`{"network": "` + blockedClient + `"}`)
		return status == 200 && f.a.from(blockedClient) == 403 && f.b.from(blockedClient) == 403
	})
	eventually(f, "a login", func() bool {
		a := f.a.do("POST", "/login?user=42")
		f.cookie, _, _ = strings.Cut(a.Header.Get("Set-Cookie"), ";")
		return a.StatusCode == 200 && f.cookie != ""
	})
	for _, g := range both {
		f.hit(g, "/page")
	}
	eventually(f, "a job is taken", func() bool {
		a := f.a.do("POST", "/task")
		f.job = a.Header.Get("Location")
		return a.StatusCode == 202
	})
	for range 4 {
		f.a.do("GET", "/strict", "X-Forwarded-For", bannedClient)
	}
	for range 4 {
		if got := f.limited(f.a); got != 200 {
			f.Fatalf("limited before its limit: %d", got)
		}
	}
}

// banned checks that a client that was banned is denied where it was.
func (f *failed) banned() {
	f.Helper()
	if got := f.a.do("GET", "/strict", "X-Forwarded-For", bannedClient).StatusCode; got != 429 {
		f.Errorf("a banned client: %d", got)
	}
}

func (f *failed) limited(g *gateway) int {
	return g.do("GET", "/limited", "X-Forwarded-For", limitedClient).StatusCode
}

// hit waits until a page comes from the cache, and returns it.
func (f *failed) hit(g *gateway, path string) (text string) {
	f.Helper()
	eventually(f, path+" comes from the cache", func() bool {
		a := g.do("GET", path)
		text = a.text
		return a.StatusCode == 200 && strings.Contains(a.Header.Get("Cache-Status"), "; hit")
	})
	return text
}

// admits counts what is admitted until a request is denied.
func (f *failed) admits(gateways ...*gateway) (n int) {
	f.Helper()
	for i := range 40 {
		switch got := f.limited(gateways[i%len(gateways)]); got {
		case 200:
			n++
		case 429:
			return n
		default:
			f.Fatalf("a limited request: %d", got)
		}
	}
	return n
}

// purges purges the page through a gateway, and returns the status.
func (f *failed) purges(g *gateway) int {
	f.version.Add(1)
	return g.adminSend("POST", "/purge", strings.NewReader(`{"tag": "products"}`)).StatusCode
}

// current waits until neither gateway serves a page that was purged.
func (f *failed) current() {
	f.Helper()
	want := fmt.Sprintf("version %d ", f.version.Load())
	for _, g := range []*gateway{f.a, f.b} {
		eventually(f, "no gateway serves what was purged", func() bool { return strings.HasPrefix(g.do("GET", "/page").text, want) })
	}
}

// takesJobs has a new job taken and done.
func (f *failed) takesJobs() {
	f.Helper()
	var job string
	eventually(f, "a new job is taken", func() bool {
		a := f.a.do("POST", "/task")
		job = a.Header.Get("Location")
		return a.StatusCode == 202
	})
	f.done(f.b, job)
}

// done waits until a job is done.
func (f *failed) done(g *gateway, job string) {
	f.Helper()
	f.able.Store(true)
	_, path, _ := strings.Cut(job, "/.jobs/")
	eventually(f, "the job is done", func() bool {
		a := g.do("GET", "/.jobs/"+path)
		if a.StatusCode != 200 && a.StatusCode != 503 {
			f.Fatalf("the job %s: %d %s", job, a.StatusCode, a.text)
		}
		return strings.Contains(a.text, `"status":"done"`)
	})
}

func (f *failed) private(g *gateway) *answer { return g.do("GET", "/private", "Cookie", f.cookie) }

func (f *failed) loggedIn(gateways ...*gateway) {
	f.Helper()
	for _, g := range gateways {
		eventually(f, "still logged in", func() bool {
			a := f.private(g)
			if a.StatusCode != 200 && a.StatusCode != 503 {
				f.Fatalf("logged out: %d", a.StatusCode)
			}
			return a.StatusCode == 200 && strings.Contains(a.text, `"42"`)
		})
	}
}

func (f *failed) logsIn(g *gateway) {
	f.Helper()
	eventually(f, "a login works", func() bool {
		a := g.do("POST", "/login?user=7")
		return a.StatusCode == 200 && a.Header.Get("Set-Cookie") != ""
	})
}

// What the failureColumns do.
var (
	limitsGoOn = behaviour{
		"local",
		"each instance goes on from what Redis last said, with its part of the client's traffic (`on_redis_error: local`), and reports what it admitted afterwards",
		func(f *failed) {
			if n := f.admits(f.a); n != 6 {
				f.Errorf("%d admitted of the 6 that were left", n)
			}
		},
		func(f *failed) {
			eventually(f, "Redis counts what was admitted meanwhile", func() bool { return f.limited(f.b) == 429 })
		},
	}
	limitsExact = behaviour{"exact", "exact over all instances", func(f *failed) {
		if n := f.admits(f.a, f.b); n != 6 {
			f.Errorf("%d admitted of the 6 that were left", n)
		}
	}, nil}
	limitsAnew = behaviour{"start over", "counters that Redis has lost start at nothing", func(f *failed) {
		if n := f.admits(f.a, f.b); n < 6 || n > 10 {
			f.Errorf("%d admitted of a limit of 10 whose counter is lost", n)
		}
	}, nil}

	sessions503 = behaviour{
		"503, kept",
		"`session: required` is 503 with Retry-After, `optional` passes as anonymous, and logins are 503; the cookie is left alone, and users are logged in again when Redis is back",
		func(f *failed) {
			a := f.private(f.a)
			if a.StatusCode != 503 || a.Header.Get("Retry-After") == "" || a.Header.Get("Set-Cookie") != "" {
				f.Errorf("a required route: %d %v", a.StatusCode, a.Header)
			}
			if a := f.a.do("POST", "/login?user=1"); a.StatusCode != 503 || a.Header.Get("Set-Cookie") != "" {
				f.Errorf("a login: %d %v", a.StatusCode, a.Header)
			}
		},
		func(f *failed) { f.loggedIn(f.a, f.b) },
	}
	sessionsWork = behaviour{"work", "users stay logged in, and logins work", func(f *failed) {
		f.loggedIn(f.a, f.b)
		f.logsIn(f.a)
	}, nil}
	sessionsRead = behaviour{"no new logins", "users stay logged in; logins and changes are 503", func(f *failed) {
		f.loggedIn(f.a, f.b)
		if a := f.a.do("POST", "/login?user=1"); a.StatusCode != 503 || a.Header.Get("Set-Cookie") != "" {
			f.Errorf("a login: %d %v", a.StatusCode, a.Header)
		}
	}, func(f *failed) { f.logsIn(f.b) }}
	sessionsLost = behaviour{"logged out", "sessions that Redis has lost have ended: 401, or the login page", func(f *failed) {
		eventually(f, "the session is gone", func() bool { return f.private(f.a).StatusCode == 401 })
		f.logsIn(f.a)
	}, nil}

	cacheAsks = behaviour{
		"asks the app",
		"what is cached is not used for longer than a second, since a purge could be missed; the app server is asked, once for all that wait at an instance",
		func(f *failed) {
			eventually(f, "the app server is asked", func() bool {
				a := f.a.do("GET", "/page")
				return a.StatusCode == 200 && !strings.Contains(a.Header.Get("Cache-Status"), "; hit")
			})
		},
		func(f *failed) { f.hit(f.a, "/page") },
	}
	cacheWorks = behaviour{"works", "pages come from the cache", func(f *failed) {
		f.hit(f.a, "/page")
		f.hit(f.b, "/other")
	}, nil}
	cacheHere = behaviour{"here alone", "pages come from the cache; what is new is stored by the instance that fetched it alone", func(f *failed) {
		f.hit(f.a, "/page")
		f.hit(f.b, "/other")
	}, nil}
	cacheVoid = behaviour{"fetched again", "what was stored is void, here as well, since purges may be lost with it; it is fetched and stored again", func(f *failed) {
		f.version.Add(1)
		f.current()
		f.hit(f.a, "/page")
	}, nil}

	purgesFail = behaviour{
		"503, repeated",
		"a purge is 503, and repeated by its gateway once Redis is back; nothing that it was to purge is served meanwhile for longer than a second",
		func(f *failed) {
			if got := f.purges(f.a); got != 503 {
				f.Errorf("a purge: %d", got)
			}
		},
		func(f *failed) { f.current() },
	}
	purgesWork = behaviour{"work", "a purge is confirmed when every instance has it", func(f *failed) {
		eventually(f, "a purge is confirmed", func() bool { return f.purges(f.a) == 204 })
		for _, g := range []*gateway{f.a, f.b} {
			if got, want := g.do("GET", "/page").text, fmt.Sprintf("version %d ", f.version.Load()); !strings.HasPrefix(got, want) {
				f.Errorf("after a purge that was confirmed: %q", got)
			}
		}
	}, nil}

	blocksStay = behaviour{"stay", "blocks and bans that an instance knows stay in force; new blocks are 503", func(f *failed) {
		f.banned()
		if got := f.a.from(blockedClient); got != 403 {
			f.Errorf("a blocked address: %d", got)
		}
		if status, _, text := f.a.block(`{"network": "192.0.2.67"}`); status != 503 {
			f.Errorf("a block: %d %s", status, text)
		}
	}, func(f *failed) {
		if a, b := f.a.from(blockedClient), f.b.from(blockedClient); a != 403 || b != 403 {
			f.Errorf("a blocked address afterwards: %d, %d", a, b)
		}
	}}
	blocksWork = behaviour{"work", "a block is confirmed when every instance has it; what was blocked or banned stays so, as the instances give Redis back the blocks that it has lost, and keep the bans that they know", func(f *failed) {
		f.banned()
		eventually(f, "a block is in force", func() bool {
			status, _, _ := f.a.block(`{"network": "192.0.2.68"}`)
			return status == 200 && f.b.from("192.0.2.68") == 403
		})
		if a, b := f.a.from(blockedClient), f.b.from(blockedClient); a != 403 || b != 403 {
			f.Errorf("an address that was blocked before: %d, %d", a, b)
		}
	}, nil}

	jobsRefused = behaviour{
		"503, kept",
		"new jobs are 503; those that were taken wait, and are done when Redis is back, again where an attempt could not be recorded",
		func(f *failed) {
			if a := f.a.do("POST", "/task"); a.StatusCode != 503 {
				f.Errorf("a new job: %d %s", a.StatusCode, a.text)
			}
		},
		func(f *failed) { f.done(f.a, f.job) },
	}
	jobsFinish = behaviour{"no new ones", "new jobs are 503; those that were taken are done", func(f *failed) {
		if a := f.a.do("POST", "/task"); a.StatusCode != 503 {
			f.Errorf("a new job: %d %s", a.StatusCode, a.text)
		}
		f.done(f.a, f.job)
	}, nil}
	jobsWork = behaviour{"work", "jobs are taken and done", func(f *failed) {
		f.done(f.b, f.job)
		f.takesJobs()
	}, nil}
	jobsLost = behaviour{"lost", "jobs that Redis has lost are lost, as are their results; new ones are taken and done", func(f *failed) {
		eventually(f, "the job is gone", func() bool { return f.a.do("GET", f.job).StatusCode == 404 })
		f.takesJobs()
	}, nil}

	adminDegraded = behaviour{"200, degraded", "/livez and /readyz are 200, and /readyz says `degraded: redis`; what asks Redis is 503", func(f *failed) {
		eventually(f, "/readyz says so", func() bool {
			a := f.a.admin("GET", "/readyz")
			return a.StatusCode == 200 && strings.Contains(a.text, "degraded: redis")
		})
		if a := f.a.admin("GET", "/livez"); a.StatusCode != 200 {
			f.Errorf("/livez: %d", a.StatusCode)
		}
		if a := f.a.admin("GET", "/sessions?user=42"); a.StatusCode != 503 && a.StatusCode != 200 {
			f.Errorf("/sessions: %d", a.StatusCode)
		}
	}, func(f *failed) {
		eventually(f, "/readyz says no more", func() bool { return !strings.Contains(f.a.admin("GET", "/readyz").text, "degraded") })
	}}
	adminWorks = behaviour{"works", "all calls work", func(f *failed) {
		for _, path := range []string{"/livez", "/readyz", "/sessions?user=42", "/limits/ten?key=" + limitedClient} {
			eventually(f, path, func() bool { return f.a.admin("GET", path).StatusCode == 200 })
		}
	}, nil}
)

// asDown is what the failureColumns do without Redis.
var asDown = map[string]behaviour{
	"limits": limitsGoOn, "sessions": sessions503, "cache": cacheAsks, "purges": purgesFail, "blocks and bans": blocksStay, "jobs": jobsRefused, "admin": adminDegraded,
}

// asWell is what they do with it.
var asWell = map[string]behaviour{
	"limits": limitsExact, "sessions": sessionsWork, "cache": cacheWorks, "purges": purgesWork, "blocks and bans": blocksWork, "jobs": jobsWork, "admin": adminWorks,
}

// but returns behaviours with some of their own.
func but(of map[string]behaviour, own map[string]behaviour) map[string]behaviour {
	all := map[string]behaviour{}
	for _, feature := range failureColumns {
		all[feature] = of[feature]
		if b, ok := own[feature]; ok {
			all[feature] = b
		}
	}
	return all
}

// TestFailures is a test of each cell of the table in docs/failures.md.
func TestFailures(t *testing.T) {
	t.Parallel()
	for _, row := range failures {
		t.Run(row.name, func(t *testing.T) {
			t.Parallel()
			r := row.start(t)
			f := r.gateways(t)
			f.prepare()
			if r.settle != nil {
				r.settle()
			}
			if r.fail != nil {
				r.fail()
			}
			if r.returns {
				f.logsIn(f.a)
				f.logsIn(f.b)
			}
			for _, feature := range failureColumns {
				t.Run(feature, func(t *testing.T) { row.does[feature].during(f.in(t)) })
			}
			if r.mend == nil {
				return
			}
			r.mend()
			for _, g := range []*gateway{f.a, f.b} {
				eventually(t, "a gateway has its Redis again", func() bool { return g.metric("headgate_redis_available") == 1 })
			}
			for _, feature := range failureColumns {
				if after := row.does[feature].after; after != nil {
					t.Run(feature+" afterwards", func(t *testing.T) { after(f.in(t)) })
				}
			}
		})
	}
}

func (f *failed) in(t *testing.T) *failed {
	in := *f
	in.T = t
	return &in
}

// plainRedis is one Redis for both gateways, which a function makes fail and another mends.
func plainRedis(fail, mend func(t *testing.T, s *redistest.Server), args ...string) func(t *testing.T) redisToFail {
	return func(t *testing.T) redisToFail {
		s := redistest.Start(t, args...)
		r := redisToFail{urls: [2]string{s.URL, s.URL}, fail: func() { fail(t, s) }}
		if mend != nil {
			r.mend = func() { mend(t, s) }
		}
		return r
	}
}

func config(t *testing.T, s *redistest.Server, pairs ...string) {
	t.Helper()
	for pair := range slices.Chunk(pairs, 2) {
		if err := s.Client.ConfigSet(context.Background(), pair[0], pair[1]).Err(); err != nil {
			t.Fatal(err)
		}
	}
}
