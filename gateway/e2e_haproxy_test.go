package main

import (
	"bufio"
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"syscall"
	"testing"
	"time"
)

// balancer is a running HAProxy.
type balancer struct{ addr, stats string }

// startHAProxy puts HAProxy before gateways: a plain configuration, with
// health checks at the admin listener, and retries of nothing but connections
// that could not be made.
func startHAProxy(t *testing.T, gateways ...*process) *balancer {
	t.Helper()
	program, err := exec.LookPath("haproxy")
	if err != nil {
		if program, err = exec.LookPath("/usr/sbin/haproxy"); err != nil {
			t.Fatal("haproxy is missing; run `sh tools/install-test-servers`, as `make test` does")
		}
	}
	b := &balancer{addr: freeAddr(t), stats: filepath.Join(t.TempDir(), "stats")}
	config := fmt.Sprintf(`
global
    stats socket %s
defaults
    mode http
    timeout connect 5s
    timeout client 30s
    timeout server 30s
    timeout check 2s
    retries 3
    option redispatch
listen gateways
    bind %s
    balance roundrobin
    option httpchk GET /readyz
    default-server check inter 200ms fall 2 rise 2
`, b.stats, b.addr)
	for i, g := range gateways {
		_, port, _ := net.SplitHostPort(g.admin)
		config += fmt.Sprintf("    server gateway%d %s port %s\n", i, g.addr, port)
	}
	file := filepath.Join(t.TempDir(), "haproxy.cfg")
	must(t, os.WriteFile(file, []byte(config), 0o600))
	log := new(output)
	cmd := exec.Command(program, "-db", "-f", file)
	cmd.Stdout, cmd.Stderr = log, log
	must(t, cmd.Start())
	t.Cleanup(func() {
		_ = cmd.Process.Kill()
		_ = cmd.Wait()
		if t.Failed() {
			t.Logf("haproxy:\n%s", log)
		}
	})
	gateways[0].eventually("haproxy sees all gateways", func() bool { return b.up() == len(gateways) })
	return b
}

// up asks HAProxy how many gateways it uses.
func (b *balancer) up() int {
	c, err := net.Dial("unix", b.stats)
	if err != nil {
		return 0
	}
	defer c.Close()
	_, _ = io.WriteString(c, "show stat\n")
	text, _ := io.ReadAll(c)
	n := 0
	for line := range strings.Lines(string(text)) {
		fields := strings.Split(line, ",")
		if len(fields) > 17 && strings.HasPrefix(fields[1], "gateway") && fields[17] == "UP" {
			n++
		}
	}
	return n
}

// keptClient sends requests over one connection for as long as that is kept.
// It never sends one again, as http.Transport would: what is lost is counted.
type keptClient struct {
	addr string
	conn net.Conn
	buf  *bufio.Reader
}

func (c *keptClient) do(method, id string) error {
	if c.conn == nil {
		conn, err := net.Dial("tcp", c.addr)
		if err != nil {
			return err
		}
		c.conn, c.buf = conn, bufio.NewReader(conn)
	}
	body := ""
	if method != "GET" {
		body = "body of " + id
	}
	_ = c.conn.SetDeadline(time.Now().Add(time.Minute))
	if _, err := fmt.Fprintf(c.conn, "%s /%s HTTP/1.1\r\nHost: shop.example\r\nContent-Length: %d\r\n\r\n%s", method, id, len(body), body); err != nil {
		return err
	}
	res, err := http.ReadResponse(c.buf, nil)
	if err != nil {
		return err
	}
	text, err := io.ReadAll(res.Body)
	switch {
	case err != nil:
		return err
	case res.StatusCode != 200 || string(text) != method+" /"+id+" "+body:
		return fmt.Errorf("%d %q", res.StatusCode, text)
	}
	if res.Close {
		c.close()
	}
	return nil
}

func (c *keptClient) close() {
	if c.conn != nil {
		c.conn.Close()
		c.conn = nil
	}
}

func TestGatewaysBehindHAProxyAreRestartedWithoutLosingARequest(t *testing.T) {
	t.Parallel()
	app := testApp(t, func(w http.ResponseWriter, r *http.Request) {
		body, _ := io.ReadAll(r.Body)
		if n, _ := strconv.Atoi(r.URL.Path[strings.LastIndex(r.URL.Path, "-")+1:]); n%10 == 0 {
			time.Sleep(30 * time.Millisecond) // some are under way whenever a gateway goes
		}
		fmt.Fprintf(w, "%s %s %s", r.Method, r.URL.Path, body)
	})
	policy := fmt.Sprintf("upstreams: {shop: {servers: [%q], max_connections: 64}}\nroutes: [{path: /*, upstream: shop}]\n", app)
	// HAProxy notices after two checks, 200 ms apart; the rest is for a busy machine.
	const delay, quiet = "shutdown_delay: 4s", "access_log: off"
	gateways := []*process{startProcess(t, policy, delay, quiet), startProcess(t, policy, delay, quiet)}
	lb := startHAProxy(t, gateways...)

	const clients = 8
	var sent, lost atomic.Int64
	var running sync.WaitGroup
	stop := make(chan struct{})
	for i := range clients {
		running.Go(func() {
			c := &keptClient{addr: lb.addr}
			defer c.close()
			for n := 0; ; n++ {
				select {
				case <-stop:
					return
				default:
				}
				method := "GET"
				if n%2 == 1 {
					method = "POST"
				}
				sent.Add(1)
				if err := c.do(method, fmt.Sprintf("%d-%d", i, n)); err != nil {
					lost.Add(1)
					t.Errorf("client %d, request %d (%s): %v", i, n, method, err)
					c.close()
				}
				time.Sleep(time.Millisecond)
			}
		})
	}
	restarts := 0
	for range 2 {
		for _, g := range gateways {
			before := sent.Load()
			must(t, g.Process.Signal(syscall.SIGTERM))
			g.eventually("it is not ready any more", func() bool { return !g.ready() })
			if err := <-g.exited; err != nil {
				t.Errorf("the gateway ended with %v", err)
			}
			g.eventually("haproxy has noticed, and requests go on", func() bool { return lb.up() == 1 && sent.Load() > before+100 })
			g.start()
			g.eventually("haproxy uses it again", func() bool { return lb.up() == 2 })
			restarts++
		}
	}
	close(stop)
	running.Wait()
	t.Logf("%d requests from %d clients through %d restarts, %d lost", sent.Load(), clients, restarts, lost.Load())
}
