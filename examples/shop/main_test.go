package main

import (
	"bytes"
	"context"
	"fmt"
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

func TestWrongCallsExitWith2AndSayWhy(t *testing.T) {
	t.Parallel()
	for _, c := range []struct {
		args []string
		says string
	}{
		{[]string{"-role", "baker"}, `unknown role "baker"; there are all and app`},
		{[]string{"-apps", "127.0.0.1:9001"}, "write them as host:port,host:port"},
		{[]string{"sell"}, `unexpected argument "sell"`},
		{[]string{"-sell"}, "flag provided but not defined"},
	} {
		var errs bytes.Buffer
		if status := run(t.Context(), c.args, small, strings.NewReader(""), &bytes.Buffer{}, &errs); status != 2 || !strings.Contains(errs.String(), c.says) {
			t.Errorf("shop %s: exit %d, %q does not say %q", c.args, status, errs.String(), c.says)
		}
	}
}

func TestAddressInUseExitsWith1AndSaysWhich(t *testing.T) {
	t.Parallel()
	taken, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer taken.Close()
	var errs bytes.Buffer
	status := run(t.Context(), []string{"-role", "app", "-addr", taken.Addr().String(), "-db", filepath.Join(t.TempDir(), "shop.db")},
		small, strings.NewReader(""), &bytes.Buffer{}, &errs)
	if status != 1 || !strings.Contains(errs.String(), taken.Addr().String()) {
		t.Errorf("exit %d, %q", status, errs.String())
	}
}

// The whole program: it opens, what it says to try works as typed, what is
// typed into it is obeyed, and Ctrl-C ends it and leaves nothing behind.
func TestWhatTheShopSaysToTryWorks(t *testing.T) {
	temp := t.TempDir()
	t.Setenv("TMPDIR", temp)
	t.Setenv("REDIS_URL", "")
	ctx, interrupt := context.WithCancel(t.Context())
	defer interrupt()

	out := &output{}
	in, typing := newPipe(t)
	ended := make(chan int, 1)
	go func() {
		ended <- run(ctx, []string{"-apps", "127.0.0.1:0,127.0.0.1:0", "-gateways", "127.0.0.1:0,127.0.0.1:0",
			"-balancer", "127.0.0.1:0", "-admins", "127.0.0.1:0,127.0.0.1:0"}, small, in, out, t.Output())
	}()
	eventually(t, "the shop opens", func() bool { return strings.Contains(out.String(), "Ctrl-C ends all") })

	want := []string{"s\n", "s\n", "200\n", "200\n", "", "Welcome back, Ada Lovelace\n"}
	for _, line := range strings.Split(out.String(), "\n") {
		command := strings.TrimSpace(line)
		if !strings.HasPrefix(command, "curl ") {
			continue
		}
		if len(want) == 0 {
			t.Fatalf("no test for: %s", command)
		}
		// The limit of 100 a minute would otherwise meet the commands after it.
		command = strings.Replace(command, " --interface 127.0.0.2", "", 1)
		command = strings.Replace(command, "curl ", fmt.Sprintf("curl --interface 127.0.1.%d ", len(want)), 1)
		cmd := exec.CommandContext(ctx, "sh", "-c", command)
		cmd.Dir, cmd.Stderr = temp, t.Output()
		printed, err := cmd.Output()
		if err != nil || !strings.Contains(string(printed), want[0]) {
			t.Errorf("$ %s: %v\n%s\nwant %q", command, err, printed, want[0])
		}
		want = want[1:]
	}
	if len(want) > 0 {
		t.Errorf("%d commands are missing", len(want))
	}

	typing("stop b\n")
	eventually(t, "shop-b is stopped", func() bool { return strings.Contains(out.String(), "shop-b is gone.") })

	interrupt()
	select {
	case status := <-ended:
		if status != 0 {
			t.Errorf("exit %d", status)
		}
	case <-time.After(time.Minute):
		t.Fatal("Ctrl-C does not end it")
	}
	if left, _ := filepath.Glob(filepath.Join(temp, "headgate-shop-*")); len(left) > 0 {
		t.Errorf("left behind: %v", left)
	}
}

func TestAppRoleServesAloneUntilItIsTold(t *testing.T) {
	t.Parallel()
	ctx, stop := context.WithCancel(t.Context())
	defer stop()
	out := &output{}
	ended := make(chan int, 1)
	go func() {
		ended <- run(ctx, []string{"-role", "app", "-addr", "127.0.0.1:0", "-name", "till-7", "-orders", "100", "-db", filepath.Join(t.TempDir(), "shop.db")},
			small, strings.NewReader(""), out, t.Output())
	}()
	eventually(t, "the app server listens", func() bool { return strings.Contains(out.String(), "listens on http://") })
	_, url, _ := strings.Cut(strings.TrimSpace(out.String()), "listens on ")
	response, err := http.Get(url + "/healthz")
	if err != nil {
		t.Fatal(err)
	}
	response.Body.Close()
	if response.StatusCode != 200 || response.Header.Get("Shop-Server") != "till-7" {
		t.Errorf("%d by %q", response.StatusCode, response.Header.Get("Shop-Server"))
	}
	stop()
	if status := <-ended; status != 0 {
		t.Errorf("exit %d", status)
	}
}

// output is a buffer that may be read while it is written.
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

func newPipe(t *testing.T) (in *os.File, typing func(string)) {
	t.Helper()
	r, w, err := os.Pipe()
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { r.Close(); w.Close() })
	return r, func(text string) {
		if _, err := w.WriteString(text); err != nil {
			t.Error(err)
		}
	}
}
