package redistest_test

import (
	"bufio"
	"fmt"
	"net"
	"os"
	"os/exec"
	"strings"
	"testing"
	"time"

	"github.com/headgate/headgate/internal/redistest"
)

const childEnv = "REDISTEST_CHILD"

func TestServerDiesWithItsTestBinary(t *testing.T) {
	t.Parallel()
	if os.Getenv(childEnv) != "" {
		srv := redistest.Start(t)
		fmt.Printf("\naddr=%s\n", srv.Addr)
		select {} // until the kill
	}

	child := exec.Command(os.Args[0], "-test.run=^"+t.Name()+"$")
	child.Env = append(os.Environ(), childEnv+"=1", "TMPDIR="+t.TempDir()) // nobody tidies up after the killed
	out, err := child.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := child.Start(); err != nil {
		t.Fatal(err)
	}
	addr := ""
	for lines := bufio.NewScanner(out); addr == "" && lines.Scan(); {
		if line, ok := strings.CutPrefix(lines.Text(), "addr="); ok {
			addr = line
		}
	}
	conn, err := net.Dial("tcp", addr)
	if err != nil {
		t.Errorf("no server while the child lives: %v", err)
	} else {
		conn.Close()
	}
	_ = child.Process.Kill()
	_ = child.Wait()

	for deadline := time.Now().Add(10 * time.Second); ; time.Sleep(5 * time.Millisecond) {
		conn, err := net.Dial("tcp", addr)
		if err != nil {
			return
		}
		conn.Close()
		if time.Now().After(deadline) {
			t.Fatalf("the server at %s lives on", addr)
		}
	}
}
