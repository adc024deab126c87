//go:build linux

package main

import (
	"bufio"
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"sync"
	"syscall"
	"time"

	"github.com/headgate/headgate/internal/redistest"
)

// gateway is a headgate process at addresses that it keeps over restarts.
type gateway struct {
	name        string
	binary      string
	addr, admin string
	policy, log string             // files
	links       []*redistest.Proxy // between it and each server of Redis
	client      *http.Client       // of the admin listener

	mu    sync.Mutex
	proc  *process
	lives []span // of its processes; the last has no end while it runs
}

// policyText has something of all that gateways keep in Redis. A sliding window of up to 32 requests,
// such as that of the limit each, is exact for any span of its length.
const policyText = `
version: 1
server:
  listen: %q
  admin: {listen: %q}
  trusted_proxies: [127.0.0.1/32]
  shutdown_delay: 1s
  shutdown_grace: 10s
  access_log: %q
redis: {url: %q, timeout: 1s, write_timeout: 2s, wait_replicas: %d}
upstreams: {app: {servers: [%s], health_check: {path: /healthz, interval: 1s, timeout: 1s}, timeout: 3s, retries: 1}}
limits:
  each: {key: "header:X-Client", requests: %d, window: %s}
  guesses: {algorithm: fixed_window, key: "header:X-Login-As", requests: 5, window: 10s, count: failed}
  at-once: {key: user, concurrent: 20}
caches: {pages: {stale_while_revalidate: 2s, stale_if_error: 5s, lock_timeout: 2s}}
session: {cookie: {secure: false}}
queues: {work: {retries: 1000, backoff: {first: 200ms, most: 2s}, timeout: 3s}}
defaults: {upstream: app}
routes:
  - {name: login, path: /login, methods: [POST], session: login, limits: guesses}
  - {name: logout, path: /logout, methods: [POST], session: logout}
  - {name: account, path: /account/*, session: required, limits: at-once}
  - {name: pages, path: /pages/*, methods: [GET], cache: pages}
  - {name: work, path: /work/*, methods: [POST], queue: work}
  - {name: limited, path: /limited, limits: each}
  - {name: rest, path: /*}
`

// write writes the gateway's policy.
func (g *gateway) write(dir, redisURL string, waitReplicas int, apps []*appServer) error {
	var servers []string
	for _, a := range apps {
		servers = append(servers, strconv.Quote("http://"+a.addr))
	}
	g.policy, g.log = filepath.Join(dir, g.name+".yaml"), filepath.Join(dir, g.name+".log")
	text := fmt.Sprintf(policyText, g.addr, g.admin, filepath.Join(dir, g.name+".access.log"), redisURL, waitReplicas,
		strings.Join(servers, ", "), limitRequests, limitWindow)
	return os.WriteFile(g.policy, []byte(text), 0o600)
}

// start runs the program and returns when it is ready.
func (g *gateway) start(ctx context.Context) error {
	p, err := startProcess(g.log, g.binary, "serve", "-p", g.policy)
	if err != nil {
		return err
	}
	g.mu.Lock()
	g.proc, g.lives = p, append(g.lives, span{from: time.Now()})
	g.mu.Unlock()
	return eventually(ctx, g.name+" is ready", func() error {
		if !p.running() {
			return fmt.Errorf("%w; see %s", errEnded, g.log)
		}
		_, err := g.ask(ctx, http.MethodGet, "/readyz", nil)
		return err
	})
}

// end ends the process with a signal and returns when it has ended.
func (g *gateway) end(s syscall.Signal) {
	p := g.running()
	if p == nil {
		return
	}
	p.signal(s)
	select {
	case <-p.exited:
	case <-time.After(patience):
		p.kill()
	}
	g.mu.Lock()
	defer g.mu.Unlock()
	g.proc = nil
	g.lives[len(g.lives)-1].to = time.Now()
}

// running returns the process, nil while there is none.
func (g *gateway) running() *process {
	g.mu.Lock()
	defer g.mu.Unlock()
	return g.proc
}

// processes returns when each of the gateway's processes ran.
func (g *gateway) processes() []span {
	g.mu.Lock()
	defer g.mu.Unlock()
	return append([]span(nil), g.lives...)
}

func (g *gateway) close() {
	if p := g.running(); p != nil {
		p.signal(syscall.SIGCONT)
		g.end(syscall.SIGKILL)
	}
	for _, l := range g.links {
		l.Close()
	}
}

// ask calls the admin API. A status other than 200 and 204 is an error.
func (g *gateway) ask(ctx context.Context, method, path string, body any) ([]byte, error) {
	var text []byte
	if body != nil {
		text, _ = json.Marshal(body)
	}
	ctx, cancel := context.WithTimeout(ctx, 10*time.Second)
	defer cancel()
	req, err := http.NewRequestWithContext(ctx, method, "http://"+g.admin+path, bytes.NewReader(text))
	if err != nil {
		return nil, err
	}
	if body != nil {
		req.Header.Set("Content-Type", "application/json")
	}
	res, err := g.client.Do(req)
	if err != nil {
		return nil, err
	}
	defer res.Body.Close()
	answer, err := io.ReadAll(res.Body)
	if err == nil && res.StatusCode != http.StatusOK && res.StatusCode != http.StatusNoContent {
		err = fmt.Errorf("%s %s: %d %.200s", method, path, res.StatusCode, answer)
	}
	return answer, err
}

// vitals is what a gateway says of itself.
type vitals struct {
	local       float64 // limits decided without Redis since its start
	redis       bool    // all Redis that it needs answers
	goroutines  float64
	descriptors float64
	memory      float64 // bytes, resident
}

func (g *gateway) vitals(ctx context.Context) (v vitals, err error) {
	text, err := g.ask(ctx, http.MethodGet, "/metrics", nil)
	if err != nil {
		return v, err
	}
	return readVitals(text)
}

// readVitals reads Prometheus' text format.
func readVitals(text []byte) (v vitals, err error) {
	seen := 0
	lines := bufio.NewScanner(bytes.NewReader(text))
	lines.Buffer(nil, 1<<20)
	for lines.Scan() {
		at := strings.LastIndexByte(lines.Text(), ' ')
		if at < 0 || strings.HasPrefix(lines.Text(), "#") {
			continue
		}
		value, _ := strconv.ParseFloat(lines.Text()[at+1:], 64)
		name, labels, _ := strings.Cut(lines.Text()[:at], "{")
		switch name {
		case "headgate_limit_decisions_total":
			if strings.Contains(labels, `source="local"`) {
				v.local += value
			}
			continue
		case "headgate_redis_available":
			v.redis = value == 1
		case "go_goroutines":
			v.goroutines = value
		case "process_open_fds":
			v.descriptors = value
		case "process_resident_memory_bytes":
			v.memory = value
		default:
			continue
		}
		seen++
	}
	if seen != 4 {
		return v, errors.New("the gateway's metrics lack one of those that are needed")
	}
	return v, nil
}
