package cache_test

import (
	"context"
	"fmt"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/labstack/echo/v4"
	"pgregory.net/rapid"

	"github.com/headgate/headgate/internal/redistest"
	"github.com/headgate/headgate/middleware/cache"
	"github.com/headgate/headgate/middleware/store"
)

// manner is how the model's origin answers, and what RFC 9111 then allows.
type manner struct {
	control  string
	fields   []string
	lifetime time.Duration // beyond which an answer must have been validated
	shared   bool          // may be given to another user at all
	public   bool          // may be shared though it was authorized
	vary     bool          // on the user
	etag     bool
}

var manners = []manner{
	{control: "max-age=10", lifetime: 10 * time.Second, shared: true},
	{control: "max-age=10", lifetime: 10 * time.Second, shared: true, etag: true},
	{control: "public, max-age=30, stale-while-revalidate=20", lifetime: 50 * time.Second, shared: true, public: true, etag: true},
	{control: "s-maxage=20, max-age=1", lifetime: 20 * time.Second, shared: true, public: true},
	{control: "max-age=0", shared: true, etag: true},
	{control: "no-cache", shared: true, etag: true},
	{control: "no-store"},
	{control: "private, max-age=60"},
	{control: "max-age=60", fields: []string{"Set-Cookie", "id=1"}},
	{control: "max-age=60", fields: []string{"Vary", "*"}},
	{control: "max-age=20", lifetime: 20 * time.Second, shared: true, vary: true, etag: true},
	{control: "max-age=20, must-revalidate", lifetime: 20 * time.Second, shared: true, public: true, vary: true},
}

// made is one answer of the origin: what the cache has to answer for.
type made struct {
	manner
	path, user string
	authorized bool
	at         time.Time
	validated  time.Time
	version    int
}

// world is the model: an origin with a memory, and what was purged when.
type world struct {
	mu       sync.Mutex
	clock    *clock
	manner   map[string]manner
	version  map[string]int
	answers  map[string]*made // by what is in the body
	serial   int
	purgedAt map[string]int // path -> answers up to this serial are void
}

func (w *world) origin(c echo.Context) error {
	w.mu.Lock()
	defer w.mu.Unlock()
	r, h := c.Request(), c.Response().Header()
	path, user := r.URL.Path, r.Header.Get("X-User")
	m := w.manner[path]
	h.Set("Cache-Control", m.control)
	h.Set("Date", w.clock.Now().Format(http.TimeFormat))
	h.Set("Cache-Tag", "tag"+path[1:])
	for i := 0; i+1 < len(m.fields); i += 2 {
		h.Set(m.fields[i], m.fields[i+1])
	}
	if m.vary {
		h.Set("Vary", "X-User")
	}
	etag := fmt.Sprintf(`"%s-%s-%d"`, path[1:], user, w.version[path])
	if !m.vary && m.shared {
		etag = fmt.Sprintf(`"%s-%d"`, path[1:], w.version[path])
	}
	if m.etag {
		h.Set("ETag", etag)
		if r.Header.Get("If-None-Match") == etag {
			for _, a := range w.answers {
				if a.path == path && a.version == w.version[path] && (a.user == user || !a.vary) {
					a.validated = w.clock.Now()
					a.lifetime = max(a.lifetime, m.lifetime)
				}
			}
			return c.NoContent(304)
		}
	}
	w.serial++
	body := fmt.Sprintf("%s %s %d", path, user, w.serial)
	w.answers[body] = &made{manner: m, path: path, user: user, authorized: r.Header.Get("Authorization") != "", at: w.clock.Now(), validated: w.clock.Now(), version: w.version[path]}
	return c.String(200, body)
}

// check says what RFC 9111, or this cache's own promises, forbid about an answer.
func (w *world) check(path, user string, authorized bool, before int, body string) error {
	w.mu.Lock()
	defer w.mu.Unlock()
	a := w.answers[body]
	if a == nil {
		return fmt.Errorf("an answer that the origin never gave")
	}
	var serial int
	fmt.Sscanf(body[strings.LastIndexByte(body, ' ')+1:], "%d", &serial)
	now := w.clock.Now()
	own := serial > before // made for this very request
	switch {
	case a.path != path:
		return fmt.Errorf("the answer is %s's", a.path)
	case own && a.user == user:
		return nil
	case !a.shared:
		return fmt.Errorf("%q was for one request of %s alone", a.control, a.user)
	case a.vary && a.user != user:
		return fmt.Errorf("the variant of %s", a.user)
	case a.authorized && !a.public:
		return fmt.Errorf("an authorized answer of %s", a.user)
	case serial <= w.purgedAt[path]:
		return fmt.Errorf("it was purged before the request began")
	case now.Sub(a.validated) >= a.lifetime && now != a.validated:
		return fmt.Errorf("%v old, %q", now.Sub(a.validated), a.control)
	}
	return nil
}

// TestNoAnswerIsForbidden runs random sequences of requests, changes, time,
// purges and evictions on two instances, and holds every answer against RFC 9111.
func TestNoAnswerIsForbidden(t *testing.T) {
	t.Parallel()
	server := redistest.Start(t)
	round := 0
	rapid.Check(t, func(rt *rapid.T) {
		if round++; round > 30 {
			return // each is some thirty steps, on two instances and a Redis
		}
		w := &world{clock: newClock(), manner: map[string]manner{}, version: map[string]int{}, answers: map[string]*made{}, purgedAt: map[string]int{}}
		paths, users := []string{"/a", "/b"}, []string{"u", "v"}
		for _, p := range paths {
			w.manner[p] = rapid.SampledFrom(manners).Draw(rt, "manner")
		}
		var instances []*cache.Cache
		var handlers []http.Handler
		for range 2 {
			r, err := store.Open(store.Options{URL: server.URL, Timeout: 5 * time.Second, KeyPrefix: fmt.Sprintf("r%d:", round)})
			if err != nil {
				rt.Fatal(err)
			}
			c, err := cache.New(cache.Options{Redis: r, Now: w.clock.Now})
			if err != nil {
				rt.Fatal(err)
			}
			defer r.Close()
			defer c.Close()
			e := echo.New()
			e.Use(c.Middleware(cache.Rule{Name: "model"}, cache.MiddlewareOptions{}))
			e.GET("/*", w.origin)
			instances, handlers = append(instances, c), append(handlers, e)
		}
		request := func(rt *rapid.T) {
			i := rapid.IntRange(0, 1).Draw(rt, "instance")
			path, user := rapid.SampledFrom(paths).Draw(rt, "path"), rapid.SampledFrom(users).Draw(rt, "user")
			req := httptest.NewRequest("GET", "http://shop.test"+path, nil)
			req.Header.Set("X-User", user)
			authorized := rapid.IntRange(0, 3).Draw(rt, "authorized") == 0
			if authorized {
				req.Header.Set("Authorization", "Bearer "+user)
			}
			w.mu.Lock()
			before := w.serial
			w.mu.Unlock()
			rec := httptest.NewRecorder()
			handlers[i].ServeHTTP(rec, req)
			if rec.Code != 200 {
				rt.Fatalf("status %d", rec.Code)
			}
			if err := w.check(path, user, authorized, before, rec.Body.String()); err != nil {
				rt.Fatalf("instance %d, %s for %s: %q: %v (%s)", i, path, user, rec.Body, err, rec.Header().Get("Cache-Status"))
			}
		}
		rt.Repeat(map[string]func(*rapid.T){
			"request": request, "request again": request, "and again": request,
			"origin changes": func(rt *rapid.T) {
				w.mu.Lock()
				defer w.mu.Unlock()
				p := rapid.SampledFrom(paths).Draw(rt, "path")
				w.version[p]++
				w.manner[p] = rapid.SampledFrom(manners).Draw(rt, "manner")
			},
			"time passes": func(rt *rapid.T) {
				w.clock.step(time.Duration(rapid.IntRange(1, 40).Draw(rt, "seconds")) * time.Second)
			},
			"purge": func(rt *rapid.T) {
				p := rapid.SampledFrom(paths).Draw(rt, "path")
				purge := rapid.SampledFrom([]cache.Purge{{Tag: "tag" + p[1:]}, {URL: "https://shop.test" + p}, {Prefix: "http://shop.test" + p}}).Draw(rt, "purge")
				w.mu.Lock()
				before := w.serial // what a refresh in the background fetches while the purge runs may be newer than it
				w.mu.Unlock()
				if err := instances[rapid.IntRange(0, 1).Draw(rt, "instance")].Purge(context.Background(), purge); err != nil {
					rt.Fatal(err)
				}
				w.mu.Lock()
				defer w.mu.Unlock()
				w.purgedAt[p] = before
			},
			"eviction": func(rt *rapid.T) {
				keys, err := server.Client.Keys(context.Background(), fmt.Sprintf("r%d:*", round)).Result()
				if err != nil || len(keys) == 0 {
					return
				}
				key := rapid.SampledFrom(keys).Draw(rt, "key")
				if strings.Contains(key, "{purge}") && rapid.IntRange(0, 9).Draw(rt, "rarely") > 0 {
					return // it makes the next purge wait for a second
				}
				server.Client.Del(context.Background(), key)
			},
		})
	})
}
