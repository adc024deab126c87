//go:build linux

package main

import (
	"context"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/pem"
	"fmt"
	"math/big"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
	"time"

	"golang.org/x/sys/unix"
)

// lab is what runs during a comparison: a folder, and processes on loopback.
type lab struct {
	ctx       context.Context
	dir       string
	origin    string // the origin's address
	cert, key string // files: what contenders show to TLS clients
	running   []*exec.Cmd
}

func newLab(ctx context.Context) (*lab, error) {
	if _, err := exec.LookPath("nginx"); err != nil {
		return nil, fmt.Errorf("nginx is missing, which is the origin, too: `apt-get install nginx`")
	}
	dir, err := os.MkdirTemp("", "compare")
	if err != nil {
		return nil, err
	}
	l := &lab{ctx: ctx, dir: dir}
	if err := l.furnish(); err != nil {
		l.stop()
		return nil, err
	}
	return l, nil
}

// furnish makes the certificate and starts the origin.
func (l *lab) furnish() error {
	if err := os.Chmod(l.dir, 0o755); err != nil { // nginx' workers are another user
		return err
	}
	if err := l.writeCertificate(); err != nil {
		return err
	}
	for name, size := range map[string]int{"1k": 1 << 10, "16k": 16 << 10, "1m": 1 << 20} {
		if _, err := l.write(name, strings.Repeat("x", size)); err != nil {
			return err
		}
	}
	addrs, err := freeAddrs(1)
	if err != nil {
		return err
	}
	l.origin = addrs[0]
	config, err := l.write("origin.conf", originConf(l.dir, l.origin))
	if err != nil {
		return err
	}
	_, err = l.start(l.origin, nil, "nginx", "-c", config)
	return err
}

// originConf is an nginx that answers /16k and /1m with as much, POST /post
// with 1 KiB once it has the body, and all else with 1 KiB.
func originConf(dir, addr string) string {
	return fmt.Sprintf(`
worker_processes 1; daemon off; pid %[1]s/origin.pid; error_log %[1]s/origin.err;
events { worker_connections 4096; }
http {
	access_log off; keepalive_requests 10000000; default_type text/plain;
	server {
		listen %[2]s backlog=4096;
		root %[1]s; add_header Cache-Control "max-age=3600";
		location = /16k { try_files /16k =404; }
		location = /1m { try_files /1m =404; }
		location = /post { return 200 "%[3]s"; }
		location / { try_files /1k =404; }
	}
}`, dir, addr, strings.Repeat("x", 1<<10))
}

// stop ends all processes, by force if they take more than 5 s, and removes
// the folder.
func (l *lab) stop() {
	for _, cmd := range l.running {
		_ = cmd.Process.Signal(os.Interrupt)
	}
	for _, cmd := range l.running {
		kill := time.AfterFunc(5*time.Second, func() { _ = cmd.Process.Kill() })
		_ = cmd.Wait()
		kill.Stop()
	}
	_ = os.RemoveAll(l.dir)
}

// start runs a program until the lab stops, and waits until addr answers.
func (l *lab) start(addr string, env []string, name string, args ...string) (pid int, err error) {
	log, err := os.Create(filepath.Join(l.dir, fmt.Sprintf("%d.log", len(l.running))))
	if err != nil {
		return 0, err
	}
	defer log.Close()
	cmd := exec.Command(name, args...)
	cmd.Stdout, cmd.Stderr = log, log
	cmd.Env = append(os.Environ(), env...)
	cmd.SysProcAttr = &syscall.SysProcAttr{Pdeathsig: syscall.SIGTERM}
	if err := cmd.Start(); err != nil {
		return 0, err
	}
	l.running = append(l.running, cmd)
	for range 1000 {
		if c, err := net.Dial("tcp", addr); err == nil {
			c.Close()
			return cmd.Process.Pid, nil
		}
		if l.ctx.Err() != nil {
			return 0, context.Cause(l.ctx)
		}
		time.Sleep(10 * time.Millisecond)
	}
	text, _ := os.ReadFile(log.Name())
	return 0, fmt.Errorf("%s does not listen on %s: %s", name, addr, text)
}

func (l *lab) write(name, text string) (file string, err error) {
	file = filepath.Join(l.dir, name)
	return file, os.WriteFile(file, []byte(text), 0o644)
}

// writeCertificate makes a self-signed certificate for 127.0.0.1 with an
// ECDSA P-256 key.
func (l *lab) writeCertificate() error {
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		return err
	}
	template := &x509.Certificate{
		SerialNumber: big.NewInt(1),
		Subject:      pkix.Name{CommonName: "compare"},
		NotBefore:    time.Now().Add(-time.Hour),
		NotAfter:     time.Now().Add(24 * time.Hour),
		DNSNames:     []string{"localhost"},
		IPAddresses:  []net.IP{net.IPv4(127, 0, 0, 1)},
	}
	cert, err := x509.CreateCertificate(rand.Reader, template, template, key.Public(), key)
	if err != nil {
		return err
	}
	secret, err := x509.MarshalPKCS8PrivateKey(key)
	if err != nil {
		return err
	}
	if l.cert, err = l.write("cert.pem", string(pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: cert}))); err != nil {
		return err
	}
	l.key, err = l.write("key.pem", string(pem.EncodeToMemory(&pem.Block{Type: "PRIVATE KEY", Bytes: secret})))
	return err
}

// freeAddrs returns n different addresses on which no process listens.
func freeAddrs(n int) (addrs []string, err error) {
	for range n {
		l, err := net.Listen("tcp", "127.0.0.1:0")
		if err != nil {
			return nil, err
		}
		defer l.Close()
		addrs = append(addrs, l.Addr().String())
	}
	return addrs, nil
}

// cpu returns the user and system time that a process and its children have
// used. It is zero for no process (0).
func cpu(pid int) time.Duration {
	if pid == 0 {
		return 0
	}
	total := time.Duration(0)
	for _, p := range append(children(pid), pid) {
		// The kernel's ID for the CPU clock of another process, as
		// clock_getcpuclockid(3) makes it: in nanoseconds, all threads, also
		// those that have ended.
		var t unix.Timespec
		if err := unix.ClockGettime(int32(^p<<3|2), &t); err == nil {
			total += time.Duration(t.Nano())
		}
	}
	return total
}

func children(pid int) (pids []int) {
	text, _ := os.ReadFile(fmt.Sprintf("/proc/%d/task/%d/children", pid, pid))
	for f := range strings.FieldsSeq(string(text)) {
		if p, err := strconv.Atoi(f); err == nil {
			pids = append(pids, p)
		}
	}
	return pids
}
