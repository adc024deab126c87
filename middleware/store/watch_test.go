package store_test

import (
	"bytes"
	"log/slog"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/headgate/headgate/internal/redistest"
	"github.com/headgate/headgate/middleware/store"
)

// heard is a log in memory.
type heard struct {
	mu   sync.Mutex
	text bytes.Buffer
}

func (h *heard) Write(p []byte) (int, error) {
	h.mu.Lock()
	defer h.mu.Unlock()
	return h.text.Write(p)
}

func (h *heard) String() string {
	h.mu.Lock()
	defer h.mu.Unlock()
	return h.text.String()
}

func (h *heard) has(words ...string) bool {
	text := h.String()
	for _, w := range words {
		if !strings.Contains(text, w) {
			return false
		}
	}
	return true
}

func logger(h *heard) *slog.Logger { return slog.New(slog.NewTextHandler(h, nil)) }

// Nothing but Open is called here: no request has to find out.
func TestWhatIsWrongWithRedisIsLoggedBeforeTheFirstCommand(t *testing.T) {
	t.Parallel()
	locked := redistest.Start(t, "--requirepass", "right")
	plain := redistest.Start(t)
	gone := redistest.Start(t)
	gone.Kill()
	master, replica := redistest.Start(t), redistest.Start(t)
	host, port, _ := strings.Cut(master.Addr, ":")
	if err := replica.Client.ReplicaOf(t.Context(), host, port).Err(); err != nil {
		t.Fatal(err)
	}
	for name, tc := range map[string]struct{ url, want string }{
		"the address":  {gone.URL, "refused"},
		"TLS":          {strings.Replace(plain.URL, "redis://", "rediss://", 1), ""}, // Redis waits for more of what it takes for a command
		"the password": {redistest.AsUser(t, locked.URL, "", "wrong"), "WRONGPASS"},
		"the database": {plain.URL + "/99", "DB index is out of range"},
		"the role":     {replica.URL, "replica"},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			log := new(heard)
			r := open(t, store.Options{URL: tc.url, Timeout: 3 * time.Second, Logger: logger(log)})
			eventually(t, "it is logged, and known", func() bool {
				return !r.Available() && log.has("level=WARN", "redis is unavailable", tc.want)
			})
			before := r.RoundTrips()
			if err := r.Do(t.Context(), cmd("get", "k")); err == nil || r.RoundTrips() != before {
				t.Errorf("the first command waits for Redis: %v", err)
			}
			if n := strings.Count(log.String(), "level=WARN"); n != 1 {
				t.Errorf("%d warnings:\n%s", n, log)
			}
		})
	}
}

func TestWhatRedisIsIsLoggedOnceAndWhenItChanges(t *testing.T) {
	t.Parallel()
	server := redistest.Start(t, "--maxmemory", "64mb", "--maxmemory-policy", "noeviction")
	server.Kill()
	log := new(heard)
	r := open(t, store.Options{URL: server.URL, Timeout: 10 * time.Second, Logger: logger(log)})
	eventually(t, "it is away", func() bool { return !r.Available() })
	if _, ok := r.Facts(); ok {
		t.Error("a Redis that is away has told something")
	}
	server.Restart()
	eventually(t, "it is back", func() bool {
		return r.Available() && log.has("redis is back", `msg="redis is ready"`, "mode=standalone", "maxmemory=67108864", "maxmemory_policy=noeviction")
	})
	if f, ok := r.Facts(); !ok || f.Evicts() || f.Version == "" {
		t.Errorf("facts %+v", f)
	}
	server.Client.ConfigSet(t.Context(), "maxmemory-policy", "allkeys-lru")
	eventually(t, "the change is seen", func() bool { f, _ := r.Facts(); return f.Evicts() && log.has("maxmemory_policy=allkeys-lru") })
	if n := strings.Count(log.String(), "redis is ready"); n != 2 {
		t.Errorf("%d lines on what Redis is:\n%s", n, log)
	}
}

// While a server is known to be away, large values do not find out again, and it is probed once at a time.
func TestLargeValuesDoNotFindOutAgain(t *testing.T) {
	t.Parallel()
	server := redistest.Start(t)
	r := open(t, store.Options{URL: server.URL, Timeout: 10 * time.Second})
	if err := r.Do(t.Context(), increment.Call([]string{"n"})); err != nil {
		t.Fatal(err)
	}
	server.Kill()
	opens(t, r)
	before := r.RoundTrips()
	for range 10 {
		if err := r.DoLarge(t.Context(), cmd("get", "x")); err == nil {
			t.Fatal("a dead server answers")
		}
	}
	if n := r.RoundTrips() - before; n != 0 {
		t.Errorf("%d round trips to a server that is known to be dead", n)
	}
	server.Restart()
	recovers(t, r)
	eventually(t, "large values travel again", func() bool {
		return r.DoLarge(t.Context(), cmd("get", "x")) == nil || r.DoLarge(t.Context(), cmd("set", "x", 1)) == nil
	})
}
