package main

import (
	"bytes"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/headgate/headgate/internal/redistest"
)

// process is the program, running.
type process struct {
	*exec.Cmd
	t           testing.TB
	policy      string // the file
	server      string // more of the policy's server section
	addr, admin string
	output      *output
	exited      chan error
}

type output struct {
	mu  sync.Mutex
	buf bytes.Buffer
}

func (o *output) Write(p []byte) (int, error) {
	o.mu.Lock()
	defer o.mu.Unlock()
	return o.buf.Write(p)
}

func (o *output) String() string {
	o.mu.Lock()
	defer o.mu.Unlock()
	return o.buf.String()
}

// freeAddr returns an address that nobody listens on.
func freeAddr(t testing.TB) string {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	return l.Addr().String()
}

// startProcess runs `headgate serve` with this policy, less its server
// section, of which server is what it has besides the addresses.
func startProcess(t testing.TB, policy string, server ...string) *process {
	t.Helper()
	p := &process{t: t, addr: freeAddr(t), admin: freeAddr(t), output: new(output), exited: make(chan error, 1)}
	for _, more := range server {
		p.server += ", " + more
	}
	p.policy = filepath.Join(t.TempDir(), "headgate.yaml")
	p.write(policy)
	t.Cleanup(func() {
		_ = p.Process.Kill()
		if t.Failed() {
			t.Logf("the program's output:\n%s", p.output)
		}
	})
	p.start()
	return p
}

// start runs the program, for the first time or once more after it has ended,
// and waits until it is ready.
func (p *process) start() {
	p.t.Helper()
	p.startAs("serve")
}

// startAs runs another command than serve, with more arguments.
func (p *process) startAs(command string, more ...string) {
	p.t.Helper()
	p.Cmd = exec.Command(os.Args[0], append([]string{command, "-p", p.policy}, more...)...)
	p.Env = append(os.Environ(), asProgram+"=1")
	if raceEnabled {
		p.Env = append(p.Env, "GOGC=100") // no ballast: the detector keeps four bytes for each, garbage too
	}
	p.Stdout, p.Stderr = p.output, p.output
	cmd := p.Cmd
	if err := cmd.Start(); err != nil {
		p.t.Fatal(err)
	}
	go func() { p.exited <- cmd.Wait() }()
	p.eventually("it is ready", p.ready)
}

func (p *process) ready() bool {
	res, err := http.Get("http://" + p.admin + "/readyz")
	if err != nil {
		return false
	}
	res.Body.Close()
	return res.StatusCode == 200
}

// write replaces the policy file at once, as editors and deployments do.
func (p *process) write(policy string) {
	p.t.Helper()
	text := fmt.Sprintf("version: 1\nserver: {listen: %q, admin: {listen: %q}, shutdown_grace: 10s%s}\n%s", p.addr, p.admin, p.server, policy)
	if err := os.WriteFile(p.policy+".new", []byte(text), 0o600); err != nil {
		p.t.Fatal(err)
	}
	if err := os.Rename(p.policy+".new", p.policy); err != nil {
		p.t.Fatal(err)
	}
}

func (p *process) eventually(what string, ok func() bool) {
	p.t.Helper()
	for deadline := time.Now().Add(time.Minute); time.Now().Before(deadline); time.Sleep(10 * time.Millisecond) {
		if ok() {
			return
		}
	}
	p.t.Fatalf("never happened: %s\n%s", what, p.output)
}

// do sends a request and returns status and body; 0 where there is no answer.
func (p *process) do(method, path string, headers ...string) (int, string, http.Header) {
	p.t.Helper()
	r, err := http.NewRequest(method, "http://"+p.addr+path, nil)
	if err != nil {
		p.t.Fatal(err)
	}
	for i := 0; i+1 < len(headers); i += 2 {
		r.Header.Set(headers[i], headers[i+1])
	}
	res, err := http.DefaultTransport.RoundTrip(r)
	if err != nil {
		return 0, err.Error(), nil
	}
	defer res.Body.Close()
	text, _ := io.ReadAll(res.Body)
	return res.StatusCode, string(text), res.Header
}

// command runs another command of the program.
func (p *process) command(args ...string) (string, error) {
	cmd := exec.Command(os.Args[0], args...)
	cmd.Env = append(os.Environ(), asProgram+"=1")
	out, err := cmd.CombinedOutput()
	return string(out), err
}

func testApp(t testing.TB, f http.HandlerFunc) string {
	s := httptest.NewServer(f)
	t.Cleanup(s.Close)
	return s.URL
}

func hello(text string) http.HandlerFunc {
	return func(w http.ResponseWriter, r *http.Request) { io.WriteString(w, text) }
}

func TestAnEditedPolicyRunsWithoutBeingAsked(t *testing.T) {
	t.Parallel()
	app := testApp(t, hello("hi"))
	policy := func(path string) string {
		return fmt.Sprintf("upstreams: {shop: {servers: [%q]}}\nroutes: [{path: %s, upstream: shop}]\n", app, path)
	}
	p := startProcess(t, policy("/old"))
	p.write(policy("/new"))
	p.eventually("the edit is in force", func() bool { s, _, _ := p.do("GET", "/new"); return s == 200 })
	p.write("nonsense: [")
	p.eventually("the broken edit is noticed", func() bool { return strings.Contains(p.output.String(), "last good one runs on") })
	if s, _, _ := p.do("GET", "/new"); s != 200 {
		t.Errorf("after a broken edit: %d", s)
	}

	out, err := p.command("history", "--admin", p.admin)
	if err != nil || !strings.Contains(out, "file change") || strings.Count(out, "\n") != 2 {
		t.Errorf("history: %v\n%s", err, out)
	}
	if out, err := p.command("rollback", "1", "--admin", p.admin); err != nil {
		t.Errorf("rollback: %v\n%s", err, out)
	}
	if s, _, _ := p.do("GET", "/old"); s != 200 {
		t.Errorf("after the rollback: %d", s)
	}
}

// Kubernetes updates a ConfigMap by swapping a symlink beside the one that is
// mounted: no event names the file.
func TestAConfigMapsSymlinkSwapIsSeen(t *testing.T) {
	t.Parallel()
	app := testApp(t, hello("hi"))
	dir := t.TempDir()
	addr, admin := freeAddr(t), freeAddr(t)
	version := func(name, path string) {
		must(t, os.Mkdir(filepath.Join(dir, name), 0o700))
		text := fmt.Sprintf("version: 1\nserver: {listen: %q, admin: {listen: %q}}\nupstreams: {shop: {servers: [%q]}}\nroutes: [{path: %s, upstream: shop}]\n", addr, admin, app, path)
		must(t, os.WriteFile(filepath.Join(dir, name, "headgate.yaml"), []byte(text), 0o600))
		must(t, os.Symlink(name, filepath.Join(dir, "..tmp")))
		must(t, os.Rename(filepath.Join(dir, "..tmp"), filepath.Join(dir, "..data")))
	}
	version("..1", "/old")
	must(t, os.Symlink("..data/headgate.yaml", filepath.Join(dir, "headgate.yaml")))

	p := &process{t: t, addr: addr, admin: admin, output: new(output)}
	p.Cmd = exec.Command(os.Args[0], "-p", filepath.Join(dir, "headgate.yaml"))
	p.Env = append(os.Environ(), asProgram+"=1")
	if raceEnabled {
		p.Env = append(p.Env, "GOGC=100") // no ballast: the detector keeps four bytes for each, garbage too
	}
	p.Stdout, p.Stderr = p.output, p.output
	must(t, p.Start())
	t.Cleanup(func() { _ = p.Process.Kill(); _ = p.Wait() })
	p.eventually("the old policy runs", func() bool { s, _, _ := p.do("GET", "/old"); return s == 200 })
	version("..2", "/new")
	p.eventually("the new policy runs", func() bool { s, _, _ := p.do("GET", "/new"); return s == 200 })
}

func must(t testing.TB, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

func TestSIGTERMFinishesWhatIsInFlight(t *testing.T) {
	t.Parallel()
	begun, finish := make(chan bool), make(chan bool)
	p := startProcess(t, fmt.Sprintf("upstreams: {shop: {servers: [%q]}}\nroutes: [{path: /*, upstream: shop}]\n",
		testApp(t, func(w http.ResponseWriter, r *http.Request) { begun <- true; <-finish; io.WriteString(w, "whole") })))
	got := make(chan string, 1)
	go func() { _, text, _ := p.do("GET", "/"); got <- text }()
	<-begun
	must(t, p.Process.Signal(syscall.SIGTERM))
	p.eventually("it drains", func() bool { return strings.Contains(p.output.String(), "draining") })
	close(finish)
	if text := <-got; text != "whole" {
		t.Errorf("the request in flight: %q", text)
	}
	if err := <-p.exited; err != nil {
		t.Errorf("the program ended with %v", err)
	}
}

func TestTheLoggedInStaySoWhenTheirGatewayIsKilled(t *testing.T) {
	t.Parallel()
	redis := redistest.Start(t)
	app := testApp(t, func(w http.ResponseWriter, r *http.Request) {
		if r.URL.Path == "/login" {
			w.Header().Set("Headgate-Login", "42")
		}
		io.WriteString(w, "user "+r.Header.Get("Headgate-User"))
	})
	policy := fmt.Sprintf(`
redis: {url: %q, timeout: 50s}
upstreams: {shop: {servers: [%q]}}
session: {cookie: {secure: false}}
caches: {pages: {ttl: 1m}}
defaults: {upstream: shop}
routes: [{path: /login, session: login}, {path: /cached, cache: pages}, {path: /*, session: required}]
`, redis.URL, app)
	a, b := startProcess(t, policy), startProcess(t, policy)
	_, _, h := a.do("POST", "/login")
	cookie, _, _ := strings.Cut(h.Get("Set-Cookie"), ";")
	must(t, a.Process.Kill())
	<-a.exited
	if s, text, _ := b.do("GET", "/", "Cookie", cookie); s != 200 || text != "user 42" {
		t.Errorf("at the other gateway: %d %q", s, text)
	}
	// A purge waits for nobody who is dead longer than that one's lease.
	if out, err := b.command("purge", "--all", "--admin", b.admin); err != nil {
		t.Errorf("purge: %v\n%s", err, out)
	}
	if out, err := b.command("probe", "-p", b.policy); err != nil {
		t.Errorf("probe: %v\n%s", err, out)
	}
	if out, err := b.command("explain", "--live", "-p", b.policy, "GET", "/x"); err != nil || !strings.Contains(out, "session   required") {
		t.Errorf("explain --live: %v\n%s", err, out)
	}
}
