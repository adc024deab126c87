package server_test

import (
	"errors"
	"fmt"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"
)

// Real app servers as origins: each is a program of its own, with what stands in testdata/origins.

// program finds a program, and skips the test where it is missing. With HEADGATE_ORIGINS=required, as in .ci/run, that fails the test.
func program(t testing.TB, names ...string) string {
	t.Helper()
	for _, name := range names {
		if path, err := exec.LookPath(name); err == nil {
			return path
		}
	}
	missing := names[0] + " is missing; `sh tools/install-test-servers` installs it, or the system's packages"
	if os.Getenv("HEADGATE_ORIGINS") == "required" {
		t.Fatal(missing)
	}
	t.Skip(missing)
	return ""
}

// origins are the app servers by name; each starts with its test.
var origins = map[string]func(testing.TB) (addr string){
	"node": func(t testing.TB) string {
		return runOrigin(t, program(t, "node"), func(_, port string) []string { return []string{"testdata/origins/app.mjs", port} })
	},
	"python": func(t testing.TB) string {
		return runOrigin(t, program(t, "python3"), func(_, port string) []string { return []string{"testdata/origins/app.py", port} })
	},
	"nginx": startNginx,
	"haproxy": func(t testing.TB) string {
		haproxy := program(t, "haproxy", "/usr/sbin/haproxy")
		_, nginx, _ := net.SplitHostPort(startNginx(t))
		return runOrigin(t, haproxy, func(dir, port string) []string {
			return []string{"-db", "-f", fillIn(t, dir, "haproxy.cfg", "@PORT@", port, "@NGINX@", nginx)}
		})
	},
}

func startNginx(t testing.TB) string {
	nginx := program(t, "nginx", "/usr/sbin/nginx")
	return runOrigin(t, nginx, func(dir, port string) []string {
		www := filepath.Join(dir, "www")
		if err := os.MkdirAll(www, 0o755); err != nil {
			t.Fatal(err)
		}
		made := time.Date(2026, 1, 2, 3, 4, 5, 0, time.UTC)
		for name, size := range map[string]int{"empty.txt": 0, "small.txt": 1000, "large.txt": 3 << 20} {
			file := filepath.Join(www, name)
			if err := os.WriteFile(file, []byte(strings.Repeat("0123456789", size/10)), 0o644); err != nil {
				t.Fatal(err)
			}
			if err := os.Chtimes(file, made, made); err != nil {
				t.Fatal(err)
			}
		}
		return []string{"-p", dir, "-e", "stderr", "-c", fillIn(t, dir, "nginx.conf", "@PORT@", port, "@DIR@", dir)}
	})
}

// fillIn writes a configuration into the directory, with what stands for its ports and folders.
func fillIn(t testing.TB, dir, name string, replace ...string) string {
	t.Helper()
	text, err := os.ReadFile(filepath.Join("testdata/origins", name))
	if err != nil {
		t.Fatal(err)
	}
	file := filepath.Join(dir, name)
	if err := os.WriteFile(file, []byte(strings.NewReplacer(replace...).Replace(string(text))), 0o644); err != nil {
		t.Fatal(err)
	}
	return file
}

// runOrigin runs a program, whose arguments it asks for, on a free port, and waits until it accepts connections.
func runOrigin(t testing.TB, path string, arguments func(dir, port string) []string) string {
	t.Helper()
	dir := t.TempDir()
	for range 5 { // another process may take the port before
		addr := freeAddr(t)
		_, port, _ := net.SplitHostPort(addr)
		stop, err := tryOrigin(addr, exec.Command(path, arguments(dir, port)...))
		if err == nil {
			t.Cleanup(stop)
			return addr
		}
		t.Log(err)
	}
	t.Fatalf("%s does not start", path)
	return ""
}

func tryOrigin(addr string, cmd *exec.Cmd) (stop func(), err error) {
	log := new(lockedBuffer)
	cmd.Stdout, cmd.Stderr = log, log
	stdin, err := cmd.StdinPipe() // open as long as the test runs
	if err != nil {
		return nil, err
	}
	if err := cmd.Start(); err != nil {
		return nil, err
	}
	ended := make(chan struct{})
	go func() { _ = cmd.Wait(); close(ended) }()
	stop = sync.OnceFunc(func() {
		stdin.Close()
		_ = cmd.Process.Signal(os.Interrupt)
		select {
		case <-ended:
		case <-time.After(5 * time.Second):
			_ = cmd.Process.Kill()
			<-ended
		}
	})
	for deadline := time.Now().Add(time.Minute); time.Now().Before(deadline); {
		if c, err := net.Dial("tcp", addr); err == nil {
			c.Close()
			select {
			case <-ended: // and something else listens there
			default:
				return stop, nil
			}
		}
		select {
		case <-ended:
			return nil, fmt.Errorf("%s ended: %s", cmd.Path, log)
		case <-time.After(10 * time.Millisecond):
		}
	}
	stop()
	return nil, errors.New(strconv.Quote(cmd.String()) + " does not listen: " + log.String())
}

func freeAddr(t testing.TB) string {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	return l.Addr().String()
}
