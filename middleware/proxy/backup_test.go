package proxy

import (
	"log/slog"
	"math/rand/v2"
	"net/http"
	"net/http/httptest"
	"slices"
	"testing"
	"time"

	"pgregory.net/rapid"
)

// drawPool draws a pool whose servers are in any state, and says which of them are fit for a request that has tried some of them.
func drawPool(t *rapid.T, kind Balance) (p *pool, tried []*server, fit []bool) {
	p = &pool{cfg: Config{MaxConnections: 2, Balance: kind}}
	n := rapid.IntRange(1, 20).Draw(t, "servers")
	for range n {
		m := member{server: &server{}, weight: rapid.IntRange(0, 2).Draw(t, "weight"), backup: rapid.Bool().Draw(t, "backup")}
		ok := m.weight > 0
		switch rapid.IntRange(0, 4).Draw(t, "state") {
		case 0:
			m.checked.down.Store(true)
			ok = false
		case 1:
			m.breaker.until.Store(int64(time.Hour))
			ok = false
		case 2:
			tried, ok = append(tried, m.server), false
		}
		m.active.Store(rapid.Int64Range(0, 2).Draw(t, "active"))
		p.members, fit = append(p.members, m), append(fit, ok)
	}
	p.balancer = newBalancer(kind, names(n), rand.Uint64)
	return p, tried, fit
}

func TestBackupsAreChosenOnlyWhereNoOtherServerIsFit(t *testing.T) {
	t.Parallel()
	for _, kind := range []Balance{RoundRobin, LeastConn, P2C, IPHash, Cookie} {
		t.Run(string(kind), func(t *testing.T) {
			t.Parallel()
			rapid.Check(t, func(t *rapid.T) {
				p, tried, fit := drawPool(t, kind)
				// The servers that may be chosen: the fit ones of the first kind that has any.
				may := func(backup, mustBeFit bool) (set []*server, free bool) {
					for i, m := range p.members {
						if m.backup == backup && m.weight > 0 && (fit[i] || !mustBeFit) {
							set, free = append(set, m.server), free || m.active.Load() < 2
						}
					}
					return set, free
				}
				var allowed []*server
				var free bool
				for _, try := range []struct{ backup, mustBeFit bool }{{false, true}, {true, true}, {false, false}, {true, false}} {
					if !try.mustBeFit && len(tried) > 0 {
						break // a retry goes to a fit server only
					}
					if allowed, free = may(try.backup, try.mustBeFit); len(allowed) > 0 {
						break
					}
				}
				a := &affinity{hash: rapid.Uint64().Draw(t, "key")}
				var home *server // of the request's cookie, if it has one
				if kind == Cookie && rapid.Bool().Draw(t, "cookie") {
					i := rapid.IntRange(0, len(p.members)-1).Draw(t, "home")
					p.sticky, a.cookies, home = &stickiness{known: map[string]int{"home": i}}, []string{"junk", "home"}, p.members[i].server
				}
				if home != nil && (!slices.Contains(allowed, home) || home.active.Load() == 2) {
					home = nil // the client is given another server
				}
				got, _, why := p.choose(1, a, tried, true)
				switch {
				case len(allowed) > 0 && !free || len(allowed) == 0 && len(tried) == 0:
					if why != overloaded {
						t.Fatalf("full, but %v", why)
					}
				case len(allowed) == 0:
					if why != exhausted {
						t.Fatalf("no server, but %v", why)
					}
				case home != nil && got.server != home:
					t.Fatal("the client was not given its server")
				default:
					for _, s := range allowed {
						if why == chosen && got.server == s {
							return
						}
					}
					t.Fatalf("chose %v of %v: %v", got, p.members, why)
				}
			})
		})
	}
}

// The servers' breakers decide: one that fails is left for the backup, and gets the requests again once its trial has succeeded.
func TestBackupStandsInWhileTheServerIsEjected(t *testing.T) {
	t.Parallel()
	now := time.Unix(1_700_000_000, 0)
	sick := true
	first := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if sick {
			w.WriteHeader(http.StatusServiceUnavailable)
		}
		_, _ = w.Write([]byte("first"))
	}))
	defer first.Close()
	backup := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) { _, _ = w.Write([]byte("backup")) }))
	defer backup.Close()
	u, err := New(Options{Logger: slog.New(slog.DiscardHandler), Now: func() time.Time { return now }, Config: Config{
		Servers: []Server{{URL: first.URL}, {URL: backup.URL, Backup: true}}, Ejection: Ejection{Failures: 2, For: time.Minute},
	}})
	if err != nil {
		t.Fatal(err)
	}
	defer u.Close()
	ask := func() string {
		w := httptest.NewRecorder()
		u.Handler(RouteOptions{}).ServeHTTP(w, httptest.NewRequest("GET", "http://shop.test/", nil))
		return w.Body.String()
	}
	var got []string
	for range 4 {
		got = append(got, ask())
	}
	sick, now = false, now.Add(2*time.Minute)
	for range 2 {
		got = append(got, ask())
	}
	want := []string{"first", "first", "backup", "backup", "first", "first"}
	for i := range want {
		if got[i] != want[i] {
			t.Fatalf("got %v, want %v", got, want)
		}
	}
	if s := u.Status(); s[0].Backup || !s[1].Backup {
		t.Errorf("%+v", s)
	}
}
