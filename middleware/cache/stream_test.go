package cache_test

import (
	"bufio"
	"context"
	"io"
	"net"
	"net/http"
	"net/http/httptrace"
	"net/textproto"
	"runtime"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/headgate/headgate/middleware/cache"
)

func TestLargeBodyStreamsWithFlatMemory(t *testing.T) {
	s := newSite(t) // not parallel: it looks at the heap
	const size = 256 << 20
	piece := make([]byte, 32<<10)
	var before runtime.MemStats
	runtime.GC()
	runtime.ReadMemStats(&before)
	var peak uint64
	s.respond(func(w http.ResponseWriter, r *http.Request) {
		w.Header().Set("Cache-Control", "max-age=60")
		for n := 0; n < size; n += len(piece) {
			if n%(32<<20) == 0 {
				var now runtime.MemStats
				runtime.GC()
				runtime.ReadMemStats(&now)
				peak = max(peak, now.HeapAlloc)
			}
			if _, err := w.Write(piece); err != nil {
				return
			}
		}
	})
	res, err := s.client.Get(s.server.URL + "/big")
	if err != nil {
		t.Fatal(err)
	}
	defer res.Body.Close()
	n, err := io.Copy(io.Discard, res.Body)
	if err != nil || n != size {
		t.Fatalf("%d bytes, %v", n, err)
	}
	if grown := int64(peak) - int64(before.HeapAlloc); grown > 24<<20 {
		t.Fatalf("the heap grew by %d MiB", grown>>20)
	}
	if st := s.cache.Stats(); st.LocalEntries != 0 || st.FillingBytes != 0 {
		t.Fatalf("left behind: %+v", st)
	}
}

func TestSlowClientHoldsBackTheOriginOfAnUnstoredBody(t *testing.T) {
	t.Parallel()
	s := newSite(t)
	written := make(chan int, 1)
	s.respond(func(w http.ResponseWriter, r *http.Request) {
		w.Header().Set("Cache-Control", "no-store")
		piece, total := make([]byte, 64<<10), 0
		for total < 64<<20 {
			n, err := w.Write(piece)
			total += n
			if err != nil {
				break
			}
		}
		written <- total
	})
	conn, err := net.Dial("tcp", s.host())
	if err != nil {
		t.Fatal(err)
	}
	io.WriteString(conn, "GET /x HTTP/1.1\r\nHost: a\r\n\r\n")
	if _, err := bufio.NewReader(conn).ReadString('\n'); err != nil {
		t.Fatal(err)
	}
	select {
	case n := <-written:
		t.Fatalf("%d bytes were taken from the origin for a client that reads nothing", n)
	case <-time.After(300 * time.Millisecond):
	}
	conn.Close()
	select {
	case <-written:
	case <-time.After(10 * time.Second):
		t.Fatal("the origin was not told that the client left")
	}
}

func TestInterimResponsesPassThroughAndAreNotStored(t *testing.T) {
	t.Parallel()
	s := newSite(t)
	s.respond(func(w http.ResponseWriter, r *http.Request) {
		rw := w.(interface{ Unwrap() http.ResponseWriter }).Unwrap()
		rw.Header().Set("Link", "</style.css>; rel=preload")
		rw.WriteHeader(http.StatusEarlyHints)
		rw.Header().Del("Link")
		w.Header().Set("Cache-Control", "max-age=60")
		io.WriteString(w, "body")
	})
	var hints []string
	ctx := httptrace.WithClientTrace(context.Background(), &httptrace.ClientTrace{
		Got1xxResponse: func(code int, h textproto.MIMEHeader) error {
			hints = append(hints, h.Get("Link"))
			return nil
		}})
	for range 2 {
		a, err := s.try(ctx, "GET", "/x")
		if err != nil || a.body != "body" || a.Header.Get("Link") != "" {
			t.Fatalf("%+v, %v", a, err)
		}
	}
	if len(hints) != 1 || hints[0] != "</style.css>; rel=preload" {
		t.Fatalf("hints %q", hints)
	}
	s.expectCalls(1)
}

func TestTrailersPassThrough(t *testing.T) {
	t.Parallel()
	s := newSite(t)
	s.respond(func(w http.ResponseWriter, r *http.Request) {
		w.Header().Set("Cache-Control", "no-store")
		w.Header().Set("Trailer", "X-Announced")
		io.WriteString(w, "body")
		w.Header().Set("X-Announced", "1")
		w.Header().Set(http.TrailerPrefix+"X-Late", "2")
	})
	a := s.get("/x")
	if a.Trailer.Get("X-Announced") != "1" || a.Trailer.Get("X-Late") != "2" || a.body != "body" {
		t.Fatalf("trailers %v", a.Trailer)
	}
}

func TestUpgradePassesWithTheClientsOwnConnection(t *testing.T) {
	t.Parallel()
	s := newSite(t)
	s.respond(func(w http.ResponseWriter, r *http.Request) {
		conn, rw, err := http.NewResponseController(w).Hijack()
		if err != nil {
			t.Error(err)
			return
		}
		defer conn.Close()
		rw.WriteString("HTTP/1.1 101 Switching Protocols\r\nConnection: Upgrade\r\nUpgrade: echo\r\n\r\nhello")
		rw.Flush()
	})
	conn, err := net.Dial("tcp", s.host())
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close()
	io.WriteString(conn, "GET /x HTTP/1.1\r\nHost: a\r\nConnection: Upgrade\r\nUpgrade: echo\r\n\r\n")
	all, _ := io.ReadAll(conn)
	if !strings.Contains(string(all), "101 Switching") || !strings.HasSuffix(string(all), "hello") {
		t.Fatalf("%q", all)
	}
}

func TestFillsTogetherStayInTheirBudget(t *testing.T) {
	t.Parallel()
	s := newSite(t, withOptions(func(o *cache.Options) { o.FillBytes = 100 << 10 }))
	s.serves(200, strings.Repeat("a", 300<<10), "Cache-Control: max-age=60", "X: y")
	if a := s.get("/x"); len(a.body) != 300<<10 {
		t.Fatalf("%d bytes", len(a.body))
	}
	if st := s.cache.Stats(); st.LocalEntries != 0 || st.FillingBytes != 0 {
		t.Fatalf("%+v", st)
	}
}

// What slow clients have yet to be sent is in memory, and counts until they
// have it: whoever reads slowly enough could have filled the memory with
// responses that counted for nothing once they had come from the origin.
func TestWhatSlowClientsHoldCounts(t *testing.T) {
	t.Parallel()
	const size = 24 << 20
	s := newSite(t, withOptions(func(o *cache.Options) { o.LocalBytes, o.FillBytes = 1<<20, 32<<20 }), withRule(cache.Rule{MaxBody: size}))
	s.respond(func(w http.ResponseWriter, _ *http.Request) {
		w.Header().Set("Cache-Control", "max-age=60")
		w.Header().Set("Content-Length", strconv.Itoa(size))
		_, _ = w.Write(make([]byte, size))
	})
	slow, err := net.Dial("tcp", s.server.Listener.Addr().String())
	if err != nil {
		t.Fatal(err)
	}
	defer slow.Close()
	if _, err := io.WriteString(slow, "GET /slow HTTP/1.1\r\nHost: "+s.host()+"\r\n\r\n"); err != nil {
		t.Fatal(err)
	}
	eventually(t, "the origin has sent all of it", func() bool { return s.calls.Load() == 1 && s.cache.Stats().Fetches == 0 })
	if held := s.cache.Stats().FillingBytes; held < size {
		t.Errorf("%d bytes count while a client holds %d", held, size)
	}
	slow.Close()
	eventually(t, "they are given back", func() bool { return s.cache.Stats().FillingBytes == 0 })
}
