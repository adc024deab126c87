package blocklist_test

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"net/http/httptest"
	"net/netip"
	"sync"
	"testing"
	"time"

	"github.com/headgate/headgate/middleware/blocklist"
	"github.com/headgate/headgate/middleware/clientip"
	"github.com/labstack/echo/v4"
)

func network(s string) netip.Prefix { return netip.MustParsePrefix(s) }

func newList(t testing.TB, o blocklist.Options) *blocklist.List {
	t.Helper()
	l, err := blocklist.New(o)
	if err != nil {
		t.Fatal(err)
	}
	return l
}

func add(t testing.TB, l *blocklist.List, of string, d time.Duration) blocklist.Outcome {
	t.Helper()
	o, err := l.Add(context.Background(), blocklist.Block{Network: network(of), Reason: "test", By: "me"}, d)
	if err != nil {
		t.Fatal(err)
	}
	return o
}

func remove(t testing.TB, l *blocklist.List, of string) bool {
	t.Helper()
	_, found, err := l.Remove(context.Background(), network(of))
	if err != nil {
		t.Fatal(err)
	}
	return found
}

// by returns the network that blocks an address, "" if none does.
func by(l *blocklist.List, addr string) string {
	if p, ok := l.Find(netip.MustParseAddr(addr)); ok {
		return p.String()
	}
	return ""
}

// clock is a clock that tests turn.
type clock struct {
	mu  sync.Mutex
	now time.Time
}

func newClock() *clock { return &clock{now: time.Unix(1_800_000_000, 0)} }

func (c *clock) Now() time.Time {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.now
}

func (c *clock) add(d time.Duration) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.now = c.now.Add(d)
}

func TestBlocksEndAndOverlap(t *testing.T) {
	t.Parallel()
	c := newClock()
	l := newList(t, blocklist.Options{Now: c.Now})
	add(t, l, "192.0.2.0/24", time.Hour)
	o := add(t, l, "192.0.2.7/32", time.Minute)
	if want := c.Now().Add(time.Minute).UTC(); !o.Block.Until.Equal(want) || o.Block.Reason != "test" || o.Block.By != "me" || o.Unconfirmed != nil {
		t.Errorf("%+v", o)
	}
	add(t, l, "198.51.100.1/32", 0)
	steps := []struct {
		after       time.Duration
		seven, next string
		blocks      int
	}{
		// Of both the one counts that lasts longer, also when the shorter one has ended.
		{0, "192.0.2.0/24", "192.0.2.0/24", 3},
		{time.Minute, "192.0.2.0/24", "192.0.2.0/24", 2},
		{time.Hour, "", "", 1},
	}
	for _, s := range steps {
		c.add(s.after)
		if seven, next := by(l, "192.0.2.7"), by(l, "192.0.2.8"); seven != s.seven || next != s.next || l.Len() != s.blocks || len(l.All()) != s.blocks {
			t.Errorf("after %s: %q, %q, %d blocks", s.after, seven, next, l.Len())
		}
	}
	if by(l, "198.51.100.1") == "" {
		t.Error("a permanent block has ended")
	}
	// A block that is made once more has the new end, a later one or an earlier one.
	add(t, l, "198.51.100.1/32", time.Minute)
	if c.add(time.Minute); by(l, "198.51.100.1") != "" {
		t.Error("the permanent block that was replaced is in force")
	}
	if l.Len() != 0 || remove(t, l, "198.51.100.1/32") {
		t.Error("a block that has ended is there")
	}
}

func TestAWiderBlockHoldsWhatIsUnblocked(t *testing.T) {
	t.Parallel()
	l := newList(t, blocklist.Options{})
	for _, n := range []string{"10.0.0.0/8", "10.1.0.0/16", "10.1.2.3/32", "2001:db8::/32"} {
		add(t, l, n, 0)
	}
	if !remove(t, l, "10.1.2.3/32") || remove(t, l, "10.1.2.3/32") {
		t.Error("removed twice, or never")
	}
	holding := l.Holding(network("10.1.2.3/32"))
	if len(holding) != 2 || holding[0].Network != network("10.1.0.0/16") || holding[1].Network != network("10.0.0.0/8") {
		t.Errorf("%v", holding)
	}
	if l.Holding(network("10.0.0.0/7")) != nil || by(l, "10.1.2.3") == "" || by(l, "11.0.0.0") != "" {
		t.Error("what holds a network is wrong")
	}
}

func TestThereAreNoMoreBlocksThanThereMayBe(t *testing.T) {
	t.Parallel()
	c := newClock()
	l := newList(t, blocklist.Options{Max: 2, Now: c.Now})
	add(t, l, "192.0.2.1/32", time.Minute)
	add(t, l, "192.0.2.2/32", 0)
	if _, err := l.Add(context.Background(), blocklist.Block{Network: network("192.0.2.3/32")}, 0); !errors.Is(err, blocklist.ErrFull) {
		t.Errorf("%v", err)
	}
	add(t, l, "192.0.2.2/32", time.Hour) // it is there already
	c.add(time.Minute)
	add(t, l, "192.0.2.3/32", 0)
}

func TestWhatIsNoBlockIsRefused(t *testing.T) {
	t.Parallel()
	l := newList(t, blocklist.Options{})
	for _, b := range []blocklist.Block{
		{}, {Network: netip.PrefixFrom(netip.MustParseAddr("192.0.2.1"), 24)}, {Network: network("::ffff:192.0.2.0/120")},
		{Network: network("192.0.2.0/24"), Reason: string(make([]byte, 257))},
	} {
		if _, err := l.Add(context.Background(), b, 0); err == nil {
			t.Errorf("%+v is taken", b)
		}
	}
	if _, err := l.Add(context.Background(), blocklist.Block{Network: network("192.0.2.0/24")}, -1); err == nil {
		t.Error("a block of negative length is taken")
	}
	if _, err := blocklist.New(blocklist.Options{Max: -1}); err == nil {
		t.Error("a negative bound is taken")
	}
}

func TestTheMiddlewareRefusesBlockedClients(t *testing.T) {
	t.Parallel()
	resolver, err := clientip.New(clientip.Options{})
	if err != nil {
		t.Fatal(err)
	}
	l := newList(t, blocklist.Options{})
	add(t, l, "192.0.2.0/24", 0)
	e := echo.New()
	e.Use(resolver.Middleware(), l.Middleware())
	e.GET("/", func(c echo.Context) error { return c.NoContent(204) })
	for peer, want := range map[string]int{
		"192.0.2.1:1": 403, "192.0.3.1:1": 204, "[::ffff:192.0.2.1]:1": 403, "[::ffff:192.0.2.1%eth0]:1": 403, "[64:ff9b::192.0.2.1]:1": 403, "[2001:db8::1]:1": 204,
	} {
		r, w := httptest.NewRequest("GET", "/", nil), httptest.NewRecorder()
		r.RemoteAddr = peer
		if e.ServeHTTP(w, r); w.Code != want {
			t.Errorf("%s: %d", peer, w.Code)
		}
	}
	bare := echo.New()
	bare.Use(l.Middleware())
	bare.GET("/", func(c echo.Context) error { return c.NoContent(http.StatusNoContent) })
	r, w := httptest.NewRequest("GET", "/", nil), httptest.NewRecorder()
	r.RemoteAddr = "192.0.2.1:1"
	if bare.ServeHTTP(w, r); w.Code != 204 {
		t.Errorf("without clientip: %d", w.Code)
	}
}

func BenchmarkFind(b *testing.B) {
	for _, n := range []int{0, 1, 100_000} {
		l := newList(b, blocklist.Options{})
		blocklist.Fill(l, n)
		for name, addr := range map[string]string{"blocked": "10.0.0.0", "other": "192.0.2.1"} {
			b.Run(fmt.Sprintf("%d/%s", n, name), func(b *testing.B) {
				b.ReportAllocs()
				a := netip.MustParseAddr(addr)
				for b.Loop() {
					l.Find(a)
				}
			})
		}
	}
}
