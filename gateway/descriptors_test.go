//go:build unix

package main

import (
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"
)

// startWithDescriptors runs the program with so few descriptors.
func startWithDescriptors(t *testing.T, limit int, policy string, server ...string) *process {
	p := &process{t: t, addr: freeAddr(t), admin: freeAddr(t), output: new(output), exited: make(chan error, 1)}
	for _, more := range server {
		p.server += ", " + more
	}
	p.policy = filepath.Join(t.TempDir(), "headgate.yaml")
	p.write(policy)
	p.Cmd = exec.Command("sh", "-c", fmt.Sprintf(`ulimit -n %d; exec "$@"`, limit), "sh", os.Args[0], "serve", "-p", p.policy)
	p.Env = append(os.Environ(), asProgram+"=1")
	if raceEnabled {
		p.Env = append(p.Env, "GOGC=100") // no ballast: the detector keeps four bytes for each, garbage too
	}
	p.Stdout, p.Stderr = p.output, p.output
	must(t, p.Start())
	go func() { p.exited <- p.Wait() }()
	t.Cleanup(func() {
		_ = p.Process.Kill()
		if t.Failed() {
			t.Logf("the program's output:\n%s", p.output)
		}
	})
	p.eventually("it is ready", p.ready)
	return p
}

// fresh asks on a connection of its own, which stays open in keep.
func (p *process) fresh(keep *[]*http.Transport, url string, patience time.Duration) (status int, text string, err error) {
	tr := &http.Transport{}
	*keep = append(*keep, tr)
	client := http.Client{Transport: tr, Timeout: patience}
	res, err := client.Get(url)
	if err != nil {
		return 0, "", err
	}
	defer res.Body.Close()
	all, err := io.ReadAll(res.Body)
	return res.StatusCode, string(all), err
}

func closeAll(all []*http.Transport) {
	for _, tr := range all {
		tr.CloseIdleConnections()
	}
}

// An orchestrator restarts a gateway whose /livez does not answer, with all that it was doing.
func TestTheAdminListenerAnswersWithoutDescriptors(t *testing.T) {
	t.Parallel()
	begun, release := make(chan bool, 100), make(chan struct{})
	released := sync.OnceFunc(func() { close(release) })
	app := testApp(t, func(w http.ResponseWriter, r *http.Request) {
		begun <- true
		<-release
	})
	t.Cleanup(released) // before the app server waits for its answers
	p := startWithDescriptors(t, 120, fmt.Sprintf("upstreams: {shop: {servers: [%q], timeout: 5m}}\nroutes: [{path: /*, upstream: shop}]\n", app),
		"max_connections: 10000, read_header_timeout: 5m")
	if !strings.Contains(p.output.String(), "max_connections is more than there are descriptors for") {
		t.Error("the log does not say that there are too few descriptors")
	}
	// Clients have all descriptors: two each while they wait for the app server, and one each in the middle of a head.
	var all sync.WaitGroup
	for range 20 {
		all.Go(func() {
			var own []*http.Transport
			defer func() { closeAll(own) }()
			if status, text, err := p.fresh(&own, "http://"+p.addr+"/", 5*time.Minute); status != 200 {
				t.Errorf("a client that waited for the app server: %d %s %v", status, text, err)
			}
		})
	}
	for range 20 {
		<-begun
	}
	var slow []net.Conn
	for range 75 {
		c, err := net.Dial("tcp", p.addr)
		must(t, err)
		defer c.Close()
		_, err = io.WriteString(c, "GET / HTTP/1.1\r\nHost:")
		must(t, err)
		slow = append(slow, c)
	}
	p.eventually("there are no descriptors left", func() bool { return strings.Contains(p.output.String(), "too many open files") })
	for i := range 30 {
		for _, path := range []string{"/livez", "/readyz"} {
			var own []*http.Transport
			status, text, err := p.fresh(&own, "http://"+p.admin+path, 20*time.Second)
			closeAll(own)
			if status != 200 {
				t.Fatalf("%s, the %dth time: %d %s %v", path, i+1, status, text, err)
			}
		}
	}
	released()
	all.Wait()
	for _, c := range slow {
		c.Close()
	}
	p.eventually("clients are served again", func() bool { status, _, _ := p.do("GET", "/"); return status == 200 })
}

// The default leaves room for a connection to an app server for each client, and clients that only keep their
// connection make room.
func TestConnectionsAreBoundedByTheDescriptors(t *testing.T) {
	t.Parallel()
	p := startWithDescriptors(t, 120, fmt.Sprintf("upstreams: {shop: {servers: [%q]}}\nroutes: [{path: /*, upstream: shop}]\n", testApp(t, hello("hi"))))
	if out := p.output.String(); !strings.Contains(out, `msg="connections of clients are bounded" max_connections=45 by=descriptors descriptors=120 reserve=30`) {
		t.Error("the log does not say what the limit of descriptors was made to")
	}
	var keep []*http.Transport
	defer func() { closeAll(keep) }()
	for i := range 200 {
		// A connection is idle only a moment after its client has the answer, so it may take more than one try.
		p.eventually("a new client is served", func() bool {
			status, _, _ := p.fresh(&keep, "http://"+p.addr+"/", time.Minute)
			return status == 200
		})
		if t.Failed() {
			t.Fatalf("client %d", i+1)
		}
	}
	var own []*http.Transport
	_, metrics, err := p.fresh(&own, "http://"+p.admin+"/metrics", time.Minute)
	closeAll(own)
	for _, want := range []string{"\nheadgate_connections_max 45\n", "\nheadgate_connections_idle_closed_total 1", "\nheadgate_connections_refused_total "} {
		if !strings.Contains(metrics, want) {
			t.Errorf("/metrics has no %q (%v)", want, err)
		}
	}
	if strings.Contains(p.output.String(), "too many open files") {
		t.Error("the process has run out of descriptors")
	}
}
