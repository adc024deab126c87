package listener_test

import (
	"bufio"
	"bytes"
	"errors"
	"io"
	"log/slog"
	"net"
	"net/http"
	"strconv"
	"sync"
	"testing"
	"time"

	"github.com/headgate/headgate/gateway/listener"
)

// seen is one request as the handler met it.
type seen struct {
	Method, Target, Host, Proto string
	Length                      int64
	Body                        string
	BodyError                   error
	TLS                         bool
	Header                      http.Header
}

// recorder is a handler that reads each request to its end and keeps it.
type recorder struct {
	mu       sync.Mutex
	requests []seen
	// answer is called before the body is read. Nil: it is read first, and
	// answered with 200, or 400 when it is malformed.
	answer http.HandlerFunc
}

func (h *recorder) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	s := seen{
		Method: r.Method, Target: r.RequestURI, Host: r.Host, Proto: r.Proto,
		Length: r.ContentLength, TLS: r.TLS != nil, Header: r.Header.Clone(),
	}
	if h.answer != nil {
		h.answer(w, r)
	}
	body, err := io.ReadAll(io.LimitReader(r.Body, 1<<20))
	s.Body, s.BodyError = string(body), err
	h.mu.Lock()
	h.requests = append(h.requests, s)
	h.mu.Unlock()
	if h.answer == nil {
		if err != nil {
			w.WriteHeader(http.StatusBadRequest)
		}
		_, _ = io.WriteString(w, "seen\n")
	}
}

func (h *recorder) all() []seen {
	h.mu.Lock()
	defer h.mu.Unlock()
	return append([]seen(nil), h.requests...)
}

// targets are the paths of the requests that the handler met.
func (h *recorder) targets() (paths []string) {
	for _, s := range h.all() {
		paths = append(paths, s.Target)
	}
	return paths
}

// start serves with these options until the test ends, and returns the address.
func start(t testing.TB, o listener.Options) (string, *listener.Server) {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	return serve(t, o, l)
}

func serve(t testing.TB, o listener.Options, l net.Listener) (string, *listener.Server) {
	t.Helper()
	if !o.HTTP1 && !o.HTTP2 && !o.H2C {
		o.HTTP1 = true
	}
	if o.Logger == nil {
		o.Logger = slog.New(slog.DiscardHandler)
	}
	s, err := listener.New(o)
	if err != nil {
		t.Fatal(err)
	}
	ended := make(chan error, 1)
	go func() { ended <- s.Serve(l) }()
	t.Cleanup(func() {
		s.Close()
		select {
		case err := <-ended:
			if !errors.Is(err, http.ErrServerClosed) {
				t.Errorf("Serve returned %v", err)
			}
		case <-time.After(10 * time.Second):
			t.Error("Serve did not return")
		}
	})
	return l.Addr().String(), s
}

func dial(t testing.TB, addr string) net.Conn {
	t.Helper()
	c, err := net.Dial("tcp", addr)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { c.Close() })
	if err := c.SetDeadline(time.Now().Add(20 * time.Second)); err != nil {
		t.Fatal(err)
	}
	return c
}

func send(t testing.TB, c io.Writer, text string) {
	t.Helper()
	if _, err := io.WriteString(c, text); err != nil {
		t.Logf("write: %v", err) // the server may have closed already
	}
}

// reply is one answer, and what happened to the connection after it.
type reply struct {
	*http.Response
	Text string
}

// replies reads answers until the connection ends.
func replies(t testing.TB, c net.Conn) (all []reply, closed bool) {
	t.Helper()
	br := bufio.NewReader(c)
	for {
		_ = c.SetReadDeadline(time.Now().Add(10 * time.Second))
		if _, err := br.Peek(1); err != nil {
			var timeout net.Error
			return all, !(errors.As(err, &timeout) && timeout.Timeout())
		}
		res, err := http.ReadResponse(br, nil)
		if err != nil {
			t.Fatalf("reading answer %d: %v", len(all)+1, err)
		}
		body, err := io.ReadAll(res.Body)
		if err != nil {
			t.Fatalf("reading the body of answer %d: %v", len(all)+1, err)
		}
		all = append(all, reply{res, string(body)})
	}
}

func statuses(all []reply) (codes []int) {
	for _, r := range all {
		codes = append(codes, r.StatusCode)
	}
	return codes
}

// eventually waits for a condition that is about to come true.
func eventually(t testing.TB, what string, ok func() bool) {
	t.Helper()
	for end := time.Now().Add(20 * time.Second); !ok(); time.Sleep(5 * time.Millisecond) {
		if time.Now().After(end) {
			t.Fatalf("in vain waited for: %s", what)
		}
	}
}

func logTo(b *syncBuffer) *slog.Logger {
	return slog.New(slog.NewTextHandler(b, &slog.HandlerOptions{Level: slog.LevelDebug}))
}

type syncBuffer struct {
	mu sync.Mutex
	b  bytes.Buffer
}

func (b *syncBuffer) Write(p []byte) (int, error) {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.b.Write(p)
}

func (b *syncBuffer) String() string {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.b.String()
}

func itoa(n int) string { return strconv.Itoa(n) }
