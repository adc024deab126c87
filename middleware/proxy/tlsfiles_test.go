package proxy

import (
	"bytes"
	"encoding/pem"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
)

type lockedLog struct {
	mu sync.Mutex
	b  bytes.Buffer
}

func (l *lockedLog) Write(p []byte) (int, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.b.Write(p)
}

func (l *lockedLog) count(text string) int {
	l.mu.Lock()
	defer l.mu.Unlock()
	return strings.Count(l.b.String(), text)
}

func TestTLSFilesThatCannotBeUsedAreLoggedOnce(t *testing.T) {
	t.Parallel()
	app := httptest.NewUnstartedServer(http.HandlerFunc(func(http.ResponseWriter, *http.Request) {}))
	app.StartTLS()
	t.Cleanup(app.Close)
	ca := filepath.Join(t.TempDir(), "ca.pem")
	write := func(text string) {
		if err := os.WriteFile(ca, []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	good := string(pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: app.Certificate().Raw}))
	write(good)
	log := new(lockedLog)
	u, err := New(Options{Logger: slog.New(slog.NewTextHandler(log, nil)), Config: Config{Servers: []Server{{URL: app.URL}}, TLS: TLS{CAFile: ca}}})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(u.Close)
	transport := func() *serverTransport { return u.pool.Load().members[0].transport }
	first := transport()
	for _, step := range []struct {
		name         string
		change       func()
		errors, news int
	}{
		{"nothing", func() {}, 0, 0},
		{"not PEM", func() { write("no certificate") }, 1, 0},
		{"removed", func() { os.Remove(ca) }, 2, 0},
		{"back, as it was", func() { write(good) }, 2, 0},
		{"not PEM again", func() { write("nothing") }, 3, 0},
		{"another text", func() { write(good + "\n") }, 3, 1},
	} {
		step.change()
		for range 3 {
			u.takeUpFiles()
		}
		if n := log.count("cannot be used"); n != step.errors {
			t.Errorf("%s: %d errors", step.name, n)
		}
		if n := log.count("loaded anew"); n != step.news || (transport() != first) != (n > 0) {
			t.Errorf("%s: loaded %d times, other connections: %t", step.name, n, transport() != first)
		}
	}
}
