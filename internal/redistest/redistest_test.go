package redistest_test

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/redis/go-redis/v9"

	"github.com/headgate/headgate/internal/redistest"
)

func TestServerAnswersAtItsURLAndItsSocket(t *testing.T) {
	t.Parallel()
	srv := redistest.Start(t)
	if srv.URL != "redis://"+srv.Addr {
		t.Errorf("URL %q does not name %q", srv.URL, srv.Addr)
	}
	options, err := redis.ParseURL(srv.URL)
	if err != nil {
		t.Fatal(err)
	}
	byURL := redis.NewClient(options)
	defer byURL.Close()
	if err := byURL.Set(t.Context(), "k", "v", time.Minute).Err(); err != nil {
		t.Fatal(err)
	}
	bySocket := redis.NewClient(&redis.Options{Network: "unix", Addr: srv.Socket})
	defer bySocket.Close()
	for name, client := range map[string]*redis.Client{"Client": srv.Client, "Socket": bySocket} {
		if got, err := client.Get(t.Context(), "k").Result(); got != "v" || err != nil {
			t.Errorf("through %s: %q, %v", name, got, err)
		}
	}
}

func TestArgumentsWinOverOurs(t *testing.T) {
	t.Parallel()
	srv := redistest.Start(t, "--maxmemory", "3mb", "--maxmemory-policy", "allkeys-lru", "--appendonly", "yes")
	for name, want := range map[string]string{
		"maxmemory": "3145728", "maxmemory-policy": "allkeys-lru", "appendonly": "yes", "save": "",
	} {
		if got := srv.Client.ConfigGet(t.Context(), name).Val()[name]; got != want {
			t.Errorf("%s is %q, want %q", name, got, want)
		}
	}
}

func TestPasswordIsPartOfTheURL(t *testing.T) {
	t.Parallel()
	srv := redistest.Start(t, "--requirepass", "s@cret/1")
	options, err := redis.ParseURL(srv.URL)
	if err != nil {
		t.Fatal(err)
	}
	if options.Password != "s@cret/1" {
		t.Errorf("the URL's password is %q", options.Password)
	}
	if err := srv.Client.Ping(t.Context()).Err(); err != nil {
		t.Error(err)
	}
}

func TestStoppedServerRefusesAndComesBackEmptyAtItsAddress(t *testing.T) {
	t.Parallel()
	srv := redistest.Start(t)
	for _, way := range []struct {
		name string
		end  func()
	}{{"stop", srv.Stop}, {"kill", srv.Kill}, {"kill while paused", func() { srv.Pause(); srv.Kill() }}} {
		set(t, srv.Client, "k")
		way.end()
		way.end = srv.Stop
		way.end() // twice is once
		if _, err := net.Dial("tcp", srv.Addr); err == nil {
			t.Errorf("%s: still accepts connections", way.name)
		}
		srv.Restart()
		if n := srv.Client.Exists(t.Context(), "k").Val(); n != 0 {
			t.Errorf("%s: came back with data", way.name)
		}
	}
}

func TestPersistentServerComesBackWithItsData(t *testing.T) {
	t.Parallel()
	srv := redistest.Start(t, "--appendonly", "yes")
	set(t, srv.Client, "k")
	srv.Restart()
	if n, err := srv.Client.Exists(t.Context(), "k").Result(); n != 1 {
		t.Errorf("the key is gone (%v)", err)
	}
}

func TestPausedServerAcceptsAndStaysSilentUntilResumed(t *testing.T) {
	t.Parallel()
	srv := redistest.Start(t)
	conn, err := net.Dial("tcp", srv.Addr)
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close()

	srv.Pause()
	fmt.Fprint(conn, "PING\r\n")
	_ = conn.SetReadDeadline(time.Now().Add(50 * time.Millisecond))
	reply := make([]byte, len("+PONG\r\n"))
	if _, err := io.ReadFull(conn, reply); !errors.Is(err, os.ErrDeadlineExceeded) {
		t.Fatalf("while paused: %q, %v", reply, err)
	}
	other, err := net.Dial("tcp", srv.Addr)
	if err != nil {
		t.Fatalf("while paused: %v", err)
	}
	other.Close()

	srv.Resume()
	_ = conn.SetReadDeadline(time.Now().Add(10 * time.Second))
	if _, err := io.ReadFull(conn, reply); string(reply) != "+PONG\r\n" {
		t.Errorf("after resuming: %q, %v", reply, err)
	}
}

func TestManyServersAtOnceHaveAnAddressEach(t *testing.T) {
	t.Parallel()
	const n = 12
	servers := make([]*redistest.Server, n)
	var wg sync.WaitGroup
	for i := range n {
		wg.Go(func() {
			srv, err := redistest.Launch(t.Context())
			if err != nil {
				t.Error(err)
				return
			}
			set(t, srv.Client, fmt.Sprint("only-on-", i))
			srv.Restart()
			set(t, srv.Client, fmt.Sprint("only-on-", i))
			servers[i] = srv
		})
	}
	wg.Wait()
	for i, srv := range servers {
		if srv == nil {
			continue
		}
		keys := srv.Client.Keys(t.Context(), "*").Val()
		if len(keys) != 1 || keys[0] != fmt.Sprint("only-on-", i) {
			t.Errorf("server %d holds %q", i, keys)
		}
		srv.Close()
	}
}

func TestBadArgumentFailsWithTheServersOwnWords(t *testing.T) {
	t.Parallel()
	_, err := redistest.Launch(t.Context(), "--no-such-option", "1")
	if err == nil || !strings.Contains(err.Error(), "no-such-option") {
		t.Errorf("got %v", err)
	}
}

func TestMissingServerFailsWithTheMend(t *testing.T) {
	t.Setenv("PATH", t.TempDir())
	for name, launch := range map[string]func(context.Context, ...string) error{
		"server":  func(ctx context.Context, a ...string) error { _, err := redistest.Launch(ctx, a...); return err },
		"cluster": func(ctx context.Context, a ...string) error { _, err := redistest.LaunchCluster(ctx, a...); return err },
		"sentinel": func(ctx context.Context, a ...string) error {
			_, err := redistest.LaunchSentinel(ctx, a...)
			return err
		},
	} {
		if err := launch(t.Context()); err == nil || !strings.Contains(err.Error(), "`make test` installs it") {
			t.Errorf("%s: %v", name, err)
		}
	}
	rec := &recorder{TB: t}
	rec.run(func() { redistest.Start(rec) })
	if !rec.fatal {
		t.Error("Start went on without a server")
	}
}

func TestValkeyServesWhereRedisIsNotInstalled(t *testing.T) {
	server, err := exec.LookPath("redis-server")
	if err != nil {
		t.Skip("this machine has Valkey alone, so every test here shows it")
	}
	bin := t.TempDir()
	if err := os.Symlink(server, filepath.Join(bin, "valkey-server")); err != nil {
		t.Fatal(err)
	}
	t.Setenv("PATH", bin)
	if err := redistest.Start(t).Client.Ping(t.Context()).Err(); err != nil {
		t.Error(err)
	}
}

func TestLaunchedServerLeavesNothingBehind(t *testing.T) {
	tmp := t.TempDir()
	t.Setenv("TMPDIR", tmp)
	srv, err := redistest.Launch(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	srv.Close()
	srv.Close() // twice is once
	left, err := os.ReadDir(tmp)
	if len(left) > 0 || err != nil {
		t.Errorf("left %v in the temporary folder (%v)", left, err)
	}
	if _, err := net.Dial("tcp", srv.Addr); err == nil {
		t.Error("still accepts connections")
	}
}

func BenchmarkStart(b *testing.B) {
	for b.Loop() {
		srv, err := redistest.Launch(b.Context())
		if err != nil {
			b.Fatal(err)
		}
		srv.Close()
	}
}

func set(t testing.TB, client redis.Cmdable, key string) {
	t.Helper()
	if err := client.Set(t.Context(), key, "v", time.Minute).Err(); err != nil {
		t.Error(err)
	}
}

// recorder is a test that may fail without failing the one around it.
type recorder struct {
	testing.TB
	errors []string
	fatal  bool
}

func (r *recorder) Helper() {}

func (r *recorder) Errorf(format string, args ...any) {
	r.errors = append(r.errors, fmt.Sprintf(format, args...))
}

func (r *recorder) Fatal(args ...any) {
	r.fatal = true
	panic(r)
}

func (r *recorder) Fatalf(format string, args ...any) { r.Fatal(fmt.Sprintf(format, args...)) }

// run calls f and swallows what Fatal throws.
func (r *recorder) run(f func()) {
	defer func() {
		if thrown := recover(); thrown != nil && thrown != any(r) {
			panic(thrown)
		}
	}()
	f()
}
