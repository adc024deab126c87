package server_test

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"io"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/headgate/headgate/gateway/server"
	"github.com/headgate/headgate/policies"
)

// gateway is a running gateway under test.
type gateway struct {
	*server.Server
	t   testing.TB
	log *lockedBuffer // the access log
}

// start runs a gateway with this policy. Addresses are added unless the policy
// has a server section of its own.
func start(t testing.TB, policy string, change ...func(*server.Options)) *gateway {
	t.Helper()
	g := &gateway{t: t, log: new(lockedBuffer)}
	o := server.Options{Policy: parse(t, policy), Logger: slog.New(slog.DiscardHandler), AccessLog: g.log}
	for _, f := range change {
		f(&o)
	}
	s, err := server.New(o)
	if err != nil {
		t.Fatal(err)
	}
	g.Server = s
	t.Cleanup(func() {
		ctx, cancel := context.WithTimeout(context.Background(), 10*time.Second)
		defer cancel()
		s.Shutdown(ctx)
	})
	if err := s.Start(); err != nil {
		t.Fatal(err)
	}
	return g
}

const listenAnywhere = `server: {listen: "127.0.0.1:0", admin: {listen: "127.0.0.1:0"}}
`

func parse(t testing.TB, policy string) *policies.Policy {
	t.Helper()
	policy = "version: 1\n" + policy
	if !strings.Contains(policy, "\nserver:") {
		policy += listenAnywhere
	}
	p, problems := policies.Parse("headgate.yaml", []byte(policy), policies.LoadOptions{
		LookupEnv: func(string) (string, bool) { return "", false },
	})
	if problems.HasErrors() {
		t.Fatalf("%v\nin\n%s", problems, policy)
	}
	return p
}

// do sends a request to the gateway and returns the answer with its body read.
func (g *gateway) do(method, target string, headers ...string) *answer {
	g.t.Helper()
	return g.send(method, target, nil, headers...)
}

func (g *gateway) send(method, target string, body io.Reader, headers ...string) *answer {
	g.t.Helper()
	return g.sendTo(g.Addr(), method, target, body, headers...)
}

func (g *gateway) sendTo(addr, method, target string, body io.Reader, headers ...string) *answer {
	g.t.Helper()
	r, err := http.NewRequest(method, "http://"+addr+target, body)
	if err != nil {
		g.t.Fatal(err)
	}
	for i := 0; i+1 < len(headers); i += 2 {
		if strings.EqualFold(headers[i], "Host") {
			r.Host = headers[i+1]
			continue
		}
		r.Header.Add(headers[i], headers[i+1])
	}
	res, err := plain.Do(r)
	if err != nil {
		g.t.Fatal(err)
	}
	defer res.Body.Close()
	text, err := io.ReadAll(res.Body)
	if err != nil {
		g.t.Fatal(err)
	}
	return &answer{Response: res, text: string(text)}
}

// plain is a client that does nothing by itself.
var plain = &http.Client{
	Transport:     &http.Transport{DisableCompression: true, MaxIdleConnsPerHost: 64},
	CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse },
	Timeout:       2 * time.Minute,
}

type answer struct {
	*http.Response
	text string
}

func (a *answer) problem(t testing.TB) (p struct {
	Type, Title, Detail string
	Status              int
	Violated            []any `json:"violated-policies"`
}) {
	t.Helper()
	if ct := a.Header.Get("Content-Type"); ct != "application/problem+json" {
		t.Fatalf("%d is %q, not a problem: %s", a.StatusCode, ct, a.text)
	}
	if err := json.Unmarshal([]byte(a.text), &p); err != nil {
		t.Fatalf("%v in %s", err, a.text)
	}
	return p
}

// app is an app server that answers with what it was asked.
func app(t testing.TB, name string) *httptest.Server {
	t.Helper()
	s := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		body, _ := io.ReadAll(r.Body)
		w.Header().Set("App", name)
		fmt.Fprintf(w, "%s %s\nHost: %s\n", r.Method, r.RequestURI, r.Host)
		r.Header.Write(w)
		fmt.Fprintf(w, "\n%s", body)
	}))
	t.Cleanup(s.Close)
	return s
}

type lockedBuffer struct {
	mu  sync.Mutex
	buf bytes.Buffer
}

func (b *lockedBuffer) Write(p []byte) (int, error) {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.buf.Write(p)
}

func (b *lockedBuffer) String() string {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.buf.String()
}

// eventually polls for what happens in the background.
func eventually(t testing.TB, what string, ok func() bool) {
	t.Helper()
	for deadline := time.Now().Add(2 * time.Minute); time.Now().Before(deadline); time.Sleep(5 * time.Millisecond) {
		if ok() {
			return
		}
	}
	t.Fatalf("never happened: %s", what)
}

// appFunc is an app server that does as it is told.
func appFunc(t testing.TB, f http.HandlerFunc) *httptest.Server {
	t.Helper()
	s := httptest.NewServer(f)
	t.Cleanup(s.Close)
	return s
}

// admin sends a request to the admin listener.
func (g *gateway) admin(method, target string) *answer {
	g.t.Helper()
	return g.adminSend(method, target, nil)
}

func (g *gateway) adminSend(method, target string, body io.Reader, headers ...string) *answer {
	g.t.Helper()
	return g.sendTo(g.AdminAddr(), method, target, body, headers...)
}

// metric returns the sum of a metric's series.
func (g *gateway) metric(name string) float64 {
	g.t.Helper()
	sum := 0.
	for line := range strings.Lines(g.admin("GET", "/metrics").text) {
		series, value, _ := strings.Cut(strings.TrimSpace(line), " ")
		if series == name || strings.HasPrefix(series, name+"{") {
			var v float64
			if _, err := fmt.Sscan(value, &v); err != nil {
				g.t.Fatal(err)
			}
			sum += v
		}
	}
	return sum
}

// slowAnswer tells when a request has come, and answers when it may.
func slowAnswer(begun chan<- bool, finish <-chan bool) http.HandlerFunc {
	return func(w http.ResponseWriter, r *http.Request) {
		begun <- true
		<-finish
		io.WriteString(w, "slow")
	}
}

// slowly has a handler begin later.
func slowly(d time.Duration, h http.Handler) http.HandlerFunc {
	return func(w http.ResponseWriter, r *http.Request) {
		time.Sleep(d)
		h.ServeHTTP(w, r)
	}
}
