package redistest

import (
	"context"
	"errors"
	"fmt"
	"net"
	"net/url"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/redis/go-redis/v9"
	"github.com/redis/go-redis/v9/maintnotifications"
)

// startTimeout is how long a server may take to answer, on the slowest machine.
const startTimeout = 30 * time.Second

// Server is one running Redis server. Its methods may be called concurrently.
type Server struct {
	Addr   string        // host:port
	URL    string        // redis://host:port, with the password of a --requirepass argument
	Socket string        // the path of its Unix socket; "" where the temporary folder's name is too long for one
	Client *redis.Client // a plain client for the test's own looking; closed with the server

	path   string // of the program
	args   []string
	dir    string
	claim  net.Listener
	output tail
	fail   func(error)

	mu   sync.Mutex
	proc *process
}

// Start runs a server until the test ends. args go to its command line, as in Start(t,
// "--maxmemory", "2mb", "--maxmemory-policy", "allkeys-lru").
func Start(t testing.TB, args ...string) *Server {
	t.Helper()
	s, err := Launch(t.Context(), args...)
	if err != nil {
		t.Fatal(err)
	}
	s.endWith(t)
	return s
}

// Launch is [Start] for where there is no test, such as TestMain. The server runs until
// Close, also when ctx ends: ctx bounds the starting alone.
func Launch(ctx context.Context, args ...string) (*Server, error) {
	return launch(ctx, func(dir string, port int) ([]string, error) {
		ours := []string{
			"--port", strconv.Itoa(port),
			"--bind", "127.0.0.1",
			"--dir", dir,
			"--save", "",
			"--appendonly", "no",
			// A replica's first copy need not wait for more replicas to come.
			"--repl-diskless-sync-delay", "0",
		}
		if socket := socketIn(dir); socket != "" {
			ours = append(ours, "--unixsocket", socket)
		}
		return append(ours, args...), nil
	})
}

// launch starts a server whose command line depends on where it lives. It begins again
// elsewhere when another program took the port first.
func launch(ctx context.Context, commandLine func(dir string, port int) ([]string, error)) (*Server, error) {
	path, err := program()
	if err != nil {
		return nil, err
	}
	ctx, cancel := context.WithTimeout(ctx, startTimeout)
	defer cancel()
	for range 10 {
		var s *Server
		if s, err = launchOnce(ctx, path, commandLine); err == nil {
			return s, nil
		}
		if !errors.Is(err, errPortTaken) {
			break
		}
	}
	return nil, err
}

func launchOnce(ctx context.Context, path string, commandLine func(dir string, port int) ([]string, error)) (_ *Server, err error) {
	port, claim, err := claimPort()
	if err != nil {
		return nil, err
	}
	s := &Server{
		Addr:  loopback(port),
		path:  path,
		claim: claim,
		fail:  func(err error) { panic(err) },
	}
	defer func() {
		if err != nil {
			s.Close()
		}
	}()
	if s.dir, err = os.MkdirTemp("", "redistest"); err != nil {
		return nil, fmt.Errorf("redistest: %w", err)
	}
	if s.args, err = commandLine(s.dir, port); err != nil {
		return nil, fmt.Errorf("redistest: %w", err)
	}
	if slices.Contains(s.args, "--unixsocket") {
		s.Socket = socketIn(s.dir)
	}
	u := url.URL{Scheme: "redis", Host: s.Addr}
	if p := s.password(); p != "" {
		u.User = url.UserPassword("", p)
	}
	s.URL = u.String()
	if err := s.run(ctx); err != nil {
		return nil, err
	}
	s.Client = redis.NewClient(&redis.Options{
		Addr:                     s.Addr,
		Password:                 s.password(),
		ContextTimeoutEnabled:    true,
		MaintNotificationsConfig: &maintnotifications.Config{Mode: maintnotifications.ModeDisabled},
	})
	return s, nil
}

// socketIn is the path of the server's Unix socket, "" if the kernel would not take one
// so long.
func socketIn(dir string) string {
	const most = 103 // sun_path is 104 bytes on BSD and macOS, 108 on Linux, with the final NUL
	if path := filepath.Join(dir, "redis.sock"); len(path) <= most {
		return path
	}
	return ""
}

func (s *Server) password() string {
	if i := slices.Index(s.args, "--requirepass"); i >= 0 && i+1 < len(s.args) {
		return s.args[i+1]
	}
	return ""
}

// endWith has the server end with the test, fail it, and explain a failure by its log.
func (s *Server) endWith(t testing.TB) {
	s.fail = func(err error) { t.Helper(); t.Fatal(err) }
	t.Cleanup(func() {
		if t.Failed() {
			t.Logf("log of the Redis server at %s:\n%s", s.Addr, s.Log())
		}
		s.Close()
	})
}

// Close kills the server and removes all that it has on disk. [Start] does so by
// itself.
func (s *Server) Close() {
	s.Kill()
	if s.Client != nil {
		_ = s.Client.Close()
	}
	_ = s.claim.Close()
	if s.dir != "" {
		_ = os.RemoveAll(s.dir)
	}
}

// Stop ends the server in an orderly manner, as a deployment would. A stopped server
// refuses connections. Stop returns when it has ended; twice is once.
func (s *Server) Stop() { s.end((*process).terminate) }

// Kill ends the server as a crash would, and returns when it has ended.
func (s *Server) Kill() { s.end((*process).kill) }

func (s *Server) end(how func(*process)) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.proc != nil {
		how(s.proc)
		s.proc = nil
	}
}

// Pause freezes the server, until Resume: it accepts connections and answers nothing,
// the way a server does whose machine hangs.
func (s *Server) Pause() { s.signal("pause", (*process).pause) }

// Resume ends a Pause. The server then answers what it was sent meanwhile.
func (s *Server) Resume() { s.signal("resume", (*process).resume) }

func (s *Server) signal(verb string, do func(*process) error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.proc == nil {
		s.fail(fmt.Errorf("redistest: %s the server at %s: it is not running", verb, s.Addr))
		return
	}
	if err := do(s.proc); err != nil {
		s.fail(fmt.Errorf("redistest: %s the server at %s: %w", verb, s.Addr, err))
	}
}

// Restart starts the server again, at the same address, and returns when it answers.
// One that still runs is stopped first. It comes back empty unless it was started with
// "--appendonly", "yes".
func (s *Server) Restart() {
	s.Stop()
	ctx, cancel := context.WithTimeout(context.Background(), startTimeout)
	defer cancel()
	if err := s.run(ctx); err != nil {
		s.fail(err)
	}
}

// Log is the end of what the server has written, over all its runs.
func (s *Server) Log() string { return s.output.String() }

// run starts the process and returns when it answers.
func (s *Server) run(ctx context.Context) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.proc != nil {
		return fmt.Errorf("redistest: the server at %s is running already", s.Addr)
	}
	proc, err := startProcess(s.path, s.args, s.dir, &s.output)
	if err != nil {
		return err
	}
	if err := s.await(ctx, proc); err != nil {
		proc.kill()
		return err
	}
	s.proc = proc
	return nil
}

var errPortTaken = errors.New("the port was taken by another program")

// await returns when proc, and not some other server at its address, answers.
func (s *Server) await(ctx context.Context, proc *process) error {
	for proc.running() {
		err := s.answersAs(proc.pid())
		if err == nil {
			return nil
		}
		if ctx.Err() != nil {
			return fmt.Errorf("redistest: the server at %s does not answer: %w (%w); its log:\n%s", s.Addr, err, ctx.Err(), s.Log())
		}
		time.Sleep(2 * time.Millisecond)
	}
	log := s.Log()
	if strings.Contains(log, "ddress already in use") {
		return fmt.Errorf("redistest: %s: %w", s.Addr, errPortTaken)
	}
	return fmt.Errorf("redistest: %s %s ended at once; its log:\n%s", s.path, strings.Join(s.args, " "), log)
}

// answersAs speaks the protocol by hand: a client with a pool would remember the
// refusals and hold back later dials.
func (s *Server) answersAs(pid int) error {
	conn, err := net.DialTimeout("tcp", s.Addr, time.Second)
	if err != nil {
		return err
	}
	defer conn.Close()
	_ = conn.SetDeadline(time.Now().Add(time.Second))
	if p := s.password(); p != "" {
		fmt.Fprintf(conn, "*2\r\n$4\r\nAUTH\r\n$%d\r\n%s\r\n", len(p), p)
	}
	fmt.Fprint(conn, "PING\r\nINFO server\r\n")
	var reply []byte
	want := fmt.Sprintf("\r\nprocess_id:%d\r\n", pid)
	buf := make([]byte, 4096)
	for {
		n, err := conn.Read(buf)
		reply = append(reply, buf[:n]...)
		switch text := string(reply); {
		case strings.Contains(text, "+PONG\r\n") && strings.Contains(text, want):
			return nil
		case strings.HasPrefix(text, "-"), err != nil, len(reply) > 64<<10:
			return fmt.Errorf("answered %.200q: %w", text, errors.Join(err, errors.New("not ready")))
		}
	}
}
