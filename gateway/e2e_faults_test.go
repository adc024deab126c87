package main

import (
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
	"os/exec"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"
)

// serveFaultyApp is an app server in a process of its own. It sends requests
// back; POST /fault?mode=reset has it reset the connections of those that
// follow, mode=slow take its time, and mode= behave again.
func serveFaultyApp(addr string) {
	var mode atomic.Value
	mode.Store("")
	err := http.ListenAndServe(addr, http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if r.URL.Path == "/fault" {
			mode.Store(r.FormValue("mode"))
			return
		}
		body, _ := io.ReadAll(r.Body)
		switch mode.Load() {
		case "reset":
			if conn, _, err := w.(http.Hijacker).Hijack(); err == nil {
				_ = conn.(*net.TCPConn).SetLinger(0)
				conn.Close()
			}
			return
		case "slow":
			time.Sleep(200 * time.Millisecond)
		}
		fmt.Fprintf(w, "%s %s %s", r.Method, r.URL.Path, body)
	}))
	fmt.Fprintln(os.Stderr, err)
	os.Exit(1)
}

type faultyApp struct {
	*exec.Cmd
	t    *testing.T
	addr string
}

func (a *faultyApp) start() {
	a.t.Helper()
	a.Cmd = exec.Command(os.Args[0])
	a.Env = append(os.Environ(), asApp+"="+a.addr)
	a.Stderr = os.Stderr
	must(a.t, a.Cmd.Start())
	for deadline := time.Now().Add(time.Minute); ; time.Sleep(10 * time.Millisecond) {
		if c, err := net.Dial("tcp", a.addr); err == nil {
			c.Close()
			return
		}
		if time.Now().After(deadline) {
			a.t.Fatal("the app does not come up")
		}
	}
}

func (a *faultyApp) kill() {
	_ = a.Process.Kill()
	_ = a.Wait()
}

func (a *faultyApp) mode(mode string) {
	a.t.Helper()
	res, err := http.Post("http://"+a.addr+"/fault?mode="+mode, "", nil)
	must(a.t, err)
	res.Body.Close()
}

// tally is what clients saw while something was wrong.
type tally struct {
	sent, failed, unsafeSent, unsafeFailed atomic.Int64
	slowest                                atomic.Int64 // of the idempotent ones, ns
}

func TestFailingAppServersAreNotNoticedByClients(t *testing.T) {
	t.Parallel()
	for name, fault := range map[string]struct{ begin, mend func(*faultyApp) }{
		"killed":    {(*faultyApp).kill, (*faultyApp).start},
		"resetting": {func(a *faultyApp) { a.mode("reset") }, func(a *faultyApp) { a.mode("") }},
		"slow":      {func(a *faultyApp) { a.mode("slow") }, func(a *faultyApp) { a.mode("") }},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			apps, p := startFaultyApps(t)
			seen, stop := new(tally), make(chan struct{})
			var clients sync.WaitGroup
			for i := range 8 {
				method := []string{"GET", "PUT", "GET", "POST"}[i%4] // POST must not be tried again
				clients.Go(func() { seen.load(t, p.addr, method, i, stop) })
			}
			p.eventually("requests flow", func() bool { return seen.sent.Load() > 100 })
			for _, a := range apps[:2] { // one after the other, so that two at a time are well
				before := seen.sent.Load()
				fault.begin(a)
				until := time.Now().Add(1500 * time.Millisecond)
				p.eventually("requests go on", func() bool { return time.Now().After(until) && seen.sent.Load() > before+50 })
				fault.mend(a)
			}
			close(stop)
			clients.Wait()
			t.Logf("%d idempotent requests, %d failed, slowest %v; %d POSTs, %d failed",
				seen.sent.Load(), seen.failed.Load(), time.Duration(seen.slowest.Load()).Round(time.Millisecond),
				seen.unsafeSent.Load(), seen.unsafeFailed.Load())
			if seen.unsafeFailed.Load() > seen.unsafeSent.Load()/2 {
				t.Error("most POSTs failed, though two of three servers were well")
			}
		})
	}
}

// startFaultyApps starts three app servers and a gateway before them.
func startFaultyApps(t *testing.T) ([]*faultyApp, *process) {
	t.Helper()
	var urls []string
	apps := make([]*faultyApp, 3)
	for i := range apps {
		a := &faultyApp{t: t, addr: freeAddr(t)}
		apps[i] = a
		a.start()
		t.Cleanup(func() { a.kill() })
		urls = append(urls, fmt.Sprintf("%q", "http://"+a.addr))
	}
	return apps, startProcess(t, fmt.Sprintf(`
upstreams:
  app:
    servers: [%s]
    health_check: {path: /, interval: 2s, timeout: 2s}
    ejection: {failures: 3, for: 500ms}
    timeout: 5s
    retries: 2
routes: [{path: /*, upstream: app}]
`, strings.Join(urls, ", ")), "access_log: off")
}

// load sends requests until it is stopped, one at a time. None that is
// idempotent may fail.
func (seen *tally) load(t *testing.T, addr, method string, client int, stop <-chan struct{}) {
	c := &keptClient{addr: addr}
	defer c.close()
	for n := 0; ; n++ {
		select {
		case <-stop:
			return
		default:
		}
		begun := time.Now()
		err := c.do(method, fmt.Sprintf("%d-%d", client, n))
		took := int64(time.Since(begun))
		if err != nil {
			c.close()
		}
		time.Sleep(2 * time.Millisecond)
		if method == "POST" {
			seen.unsafeSent.Add(1)
			if err != nil {
				seen.unsafeFailed.Add(1)
			}
			continue
		}
		seen.sent.Add(1)
		for old := seen.slowest.Load(); took > old && !seen.slowest.CompareAndSwap(old, took); old = seen.slowest.Load() {
		}
		if err != nil {
			seen.failed.Add(1)
			t.Errorf("%s by client %d: %v", method, client, err)
		}
	}
}
