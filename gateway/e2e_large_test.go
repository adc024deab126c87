package main

import (
	"bytes"
	"encoding/binary"
	"fmt"
	"io"
	"net/http"
	"os"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"
)

// numbered is a body in which every 64 KiB begin with their number.
type numbered struct{ at, size int64 }

const blockSize = 64 << 10

func (b *numbered) Read(p []byte) (int, error) {
	if b.at == b.size {
		return 0, io.EOF
	}
	p = p[:min(int64(len(p)), b.size-b.at, blockSize-b.at%blockSize)]
	clear(p)
	if b.at%blockSize == 0 && len(p) >= 8 {
		binary.BigEndian.PutUint64(p, uint64(b.at/blockSize))
	}
	b.at += int64(len(p))
	return len(p), nil
}

// checkNumbered reads a body and says what is wrong with it.
func checkNumbered(body io.Reader, size int64) error {
	buf := make([]byte, blockSize)
	for at := int64(0); at < size; at += blockSize {
		if _, err := io.ReadFull(body, buf); err != nil {
			return fmt.Errorf("at byte %d: %w", at, err)
		}
		if n := binary.BigEndian.Uint64(buf); n != uint64(at/blockSize) {
			return fmt.Errorf("block %d has come as number %d", at/blockSize, n)
		}
	}
	if n, err := io.Copy(io.Discard, body); n != 0 || err != nil {
		return fmt.Errorf("%d bytes too many, %v", n, err)
	}
	return nil
}

// resident is the memory that the process holds, in bytes.
func (p *process) resident() int64 {
	p.t.Helper()
	text, err := os.ReadFile(fmt.Sprintf("/proc/%d/status", p.Process.Pid))
	must(p.t, err)
	_, rest, _ := bytes.Cut(text, []byte("VmRSS:"))
	kib, err := strconv.ParseInt(strings.Fields(string(rest))[0], 10, 64)
	must(p.t, err)
	return kib << 10
}

// watchMemory returns a function that ends watching and tells how much memory
// the process held at the beginning and at most.
func (p *process) watchMemory() func() (before, most int64) {
	before := p.resident()
	most := before
	stop := make(chan struct{})
	var watching sync.WaitGroup
	watching.Go(func() {
		for {
			select {
			case <-stop:
				return
			case <-time.After(20 * time.Millisecond):
				most = max(most, p.resident())
			}
		}
	})
	return func() (int64, int64) {
		close(stop)
		watching.Wait()
		return before, most
	}
}

// HEADGATE_LARGE=1 makes the bodies 5 GiB.
func TestLargeBodiesPassInFlatMemory(t *testing.T) {
	t.Parallel()
	size := int64(256 << 20)
	if os.Getenv("HEADGATE_LARGE") != "" {
		size = 5 << 30
	}
	app := testApp(t, func(w http.ResponseWriter, r *http.Request) {
		if r.Method != "GET" {
			fmt.Fprint(w, checkNumbered(r.Body, size))
			return
		}
		w.Header().Set("Cache-Control", "max-age=60")
		w.Header().Set("Content-Type", "application/octet-stream")
		if r.URL.Query().Has("length") {
			w.Header().Set("Content-Length", fmt.Sprint(size))
		}
		_, _ = io.CopyBuffer(struct{ io.Writer }{w}, &numbered{size: size}, make([]byte, blockSize))
	})
	p := startProcess(t, fmt.Sprintf(`
upstreams: {app: {servers: [%q]}}
caches: {small: {ttl: 1m, max_body: 1MiB}}
limits: {per-ip: {requests: 1000, window: 1m}}
defaults: {upstream: app, limits: per-ip}
routes: [{path: /cached, cache: small}, {path: /*}]
`, app), "access_log: off", "protocols: [http1, h2c]", "max_body: 0")

	for _, protocol := range []string{"HTTP/1.1", "h2c"} {
		tr := &http.Transport{DisableCompression: true, Protocols: new(http.Protocols)}
		tr.Protocols.SetHTTP1(protocol == "HTTP/1.1")
		tr.Protocols.SetUnencryptedHTTP2(protocol == "h2c")
		t.Cleanup(tr.CloseIdleConnections)
		for name, transfer := range map[string]func() error{
			"upload": func() error {
				return transferUp(tr, "http://"+p.addr+"/", size, -1)
			},
			"upload of declared length": func() error {
				return transferUp(tr, "http://"+p.addr+"/", size, size)
			},
			"download": func() error {
				return transferDown(tr, "http://"+p.addr+"/", size)
			},
			"download through a cache that it is too large for": func() error {
				return transferDown(tr, "http://"+p.addr+"/cached", size)
			},
			"the same of declared length": func() error {
				return transferDown(tr, "http://"+p.addr+"/cached?length", size)
			},
		} {
			t.Run(protocol+" "+name, func(t *testing.T) {
				watched, begun := p.watchMemory(), time.Now()
				err := transfer()
				before, most := watched()
				if err != nil {
					t.Error(err)
				}
				t.Logf("%d MiB in %v; the gateway held %d MiB, and %d at most",
					size>>20, time.Since(begun).Round(10*time.Millisecond), before>>20, most>>20)
				if most > before+64<<20 {
					t.Errorf("the gateway grew from %d to %d MiB", before>>20, most>>20)
				}
			})
		}
	}
}

func transferUp(tr *http.Transport, url string, size, declared int64) error {
	r, err := http.NewRequest("POST", url, io.NopCloser(&numbered{size: size}))
	if err != nil {
		return err
	}
	r.ContentLength = declared
	res, err := tr.RoundTrip(r)
	if err != nil {
		return err
	}
	defer res.Body.Close()
	if text, err := io.ReadAll(res.Body); err != nil || string(text) != "<nil>" {
		return fmt.Errorf("%d %s, %w", res.StatusCode, text, err)
	}
	return nil
}

func transferDown(tr *http.Transport, url string, size int64) error {
	r, err := http.NewRequest("GET", url, nil)
	if err != nil {
		return err
	}
	res, err := tr.RoundTrip(r)
	if err != nil {
		return err
	}
	defer res.Body.Close()
	if res.StatusCode != 200 {
		return fmt.Errorf("status %d", res.StatusCode)
	}
	return checkNumbered(res.Body, size)
}
