package listener_test

import (
	"errors"
	"io"
	"net/http"
	"runtime"
	"sync/atomic"
	"testing"

	"github.com/headgate/headgate/gateway/listener"
)

// heap is the live memory of the process, for tests that run alone.
func heap() int64 {
	runtime.GC()
	var m runtime.MemStats
	runtime.ReadMemStats(&m)
	return int64(m.HeapAlloc)
}

func TestLargeBodiesKeepMemoryFlat(t *testing.T) {
	const size = 64 << 20
	for name, set := range map[string]func(*http.Protocols){
		"h2c":      func(p *http.Protocols) { p.SetUnencryptedHTTP2(true) },
		"HTTP/1.1": func(p *http.Protocols) { p.SetHTTP1(true) },
	} {
		t.Run(name, func(t *testing.T) {
			before := heap()
			var peak atomic.Int64
			addr, _ := start(t, listener.Options{
				HTTP1: true, H2C: true,
				Handler: http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
					_ = http.NewResponseController(w).EnableFullDuplex()
					buf := make([]byte, 64<<10)
					for n := int64(0); ; {
						m, err := r.Body.Read(buf)
						if n>>23 != (n+int64(m))>>23 {
							peak.Store(max(peak.Load(), heap()))
						}
						n += int64(m)
						_, _ = w.Write(buf[:m])
						if err != nil {
							if !errors.Is(err, io.EOF) || n != size {
								t.Errorf("%d bytes: %v", n, err)
							}
							return
						}
					}
				}),
			})
			cl := client(set)
			defer cl.CloseIdleConnections()
			for _, length := range []int64{size, -1} {
				req, err := http.NewRequest("POST", "http://"+addr, io.LimitReader(zeros{}, size))
				if err != nil {
					t.Fatal(err)
				}
				req.ContentLength = length
				res, err := cl.Do(req)
				if err != nil {
					t.Fatal(err)
				}
				n, err := io.Copy(io.Discard, res.Body)
				res.Body.Close()
				if err != nil || n != size {
					t.Errorf("%d bytes came back: %v", n, err)
				}
			}
			if grown := peak.Load() - before; grown > 16<<20 {
				t.Errorf("memory grew by %d MiB", grown>>20)
			}
		})
	}
}

type zeros struct{}

func (zeros) Read(p []byte) (int, error) {
	clear(p)
	return len(p), nil
}
