package main

import (
	"context"
	_ "embed"
	"errors"
	"fmt"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"time"
)

//go:embed driver.mjs
var driver []byte

// lab is what runs during a measurement, in a directory of its own. Whatever
// it starts ends with its context at the latest.
type lab struct {
	ctx  context.Context
	dir  string
	cmds []*exec.Cmd
}

func (l *lab) stop() {
	for _, c := range slices.Backward(l.cmds) {
		_ = c.Process.Signal(os.Interrupt)
		killer := time.AfterFunc(5*time.Second, func() { _ = c.Process.Kill() })
		_ = c.Wait()
		killer.Stop()
	}
}

// install puts the suite and what it needs into the directory, and returns
// where it is. Registries have bad moments, hence the second and third try.
func (l *lab) install() (root string, err error) {
	l.write("package.json", `{"private": true}`)
	for try := range 3 {
		if try > 0 {
			select {
			case <-time.After(time.Duration(try) * 5 * time.Second):
			case <-l.ctx.Done():
				return "", context.Cause(l.ctx)
			}
		}
		cmd := exec.CommandContext(l.ctx, "npm", "install", "--no-audit", "--no-fund", "--ignore-scripts", "--loglevel=error", suitePackage)
		cmd.Dir = l.dir
		var out []byte
		if out, err = cmd.CombinedOutput(); err == nil {
			return filepath.Join(l.dir, "node_modules", "http-cache-tests"), nil
		}
		err = fmt.Errorf("npm install %s: %w: %s", suitePackage, err, firstLine(out))
	}
	return "", err
}

// serve starts the suite's server, which answers as each case tells it.
func (l *lab) serve(root string) (addr string, err error) {
	addr = free()
	_, port, _ := net.SplitHostPort(addr)
	script := filepath.Join(root, "server", "server.mjs")
	if engine := filepath.Join(root, "test-engine"); isDir(engine) {
		script = filepath.Join(engine, "server", "server.mjs")
	}
	cmd := exec.CommandContext(l.ctx, "node", script)
	cmd.Dir = root
	cmd.Env = append(os.Environ(), "npm_config_protocol=http", "npm_config_port="+port,
		"npm_config_pidfile="+filepath.Join(l.dir, "server.pid"))
	return addr, l.start(addr, cmd)
}

// build builds Headgate from this tree.
func (l *lab) build() (binary string, err error) {
	binary = filepath.Join(l.dir, "headgate")
	if out, err := exec.CommandContext(l.ctx, "go", "build", "-o", binary, "./gateway").CombinedOutput(); err != nil {
		return "", fmt.Errorf("go build ./gateway: %w: %s (is this the top of the tree?)", err, firstLine(out))
	}
	return binary, nil
}

// gateways starts instances of a Headgate of this tree before an origin. It returns the address of
// the one, or of a balancer before several, which share a Redis.
func (l *lab) gateways(origin string, instances int, withRedis bool) (addr string, err error) {
	binary, err := l.build()
	if err != nil {
		return "", err
	}
	redis := ""
	if withRedis {
		at := free()
		_, port, _ := net.SplitHostPort(at)
		if err := l.start(at, exec.CommandContext(l.ctx, "redis-server", "--port", port, "--bind", "127.0.0.1", "--save", "")); err != nil {
			return "", err
		}
		redis = "redis://" + at
	}
	addrs := make([]string, instances)
	for i := range addrs {
		addrs[i] = free()
		policy := l.write(fmt.Sprintf("headgate-%d.yaml", i), fmt.Sprintf(policyText, addrs[i], redis, origin))
		if err := l.start(addrs[i], exec.CommandContext(l.ctx, binary, "serve", "-p", policy)); err != nil {
			return "", err
		}
	}
	if instances == 1 {
		return addrs[0], nil
	}
	return balance(l.ctx, addrs)
}

// policyText caches every path, as the origin says and else by the heuristic.
// Node closes a connection that was idle for 5 s, and a request which meets
// that fails; we are to close ours before.
const policyText = `
version: 1
server: {listen: %q, admin: {listen: off}, access_log: off}
redis: {url: %q}
upstreams: {suite: {servers: ["http://%s"], idle_timeout: 2s}}
caches: {all: {heuristic: true}}
routes:
  - {name: all, path: /*, upstream: suite, cache: all}
`

// start starts a server and waits until it answers at addr.
func (l *lab) start(addr string, cmd *exec.Cmd) error {
	log, err := os.Create(filepath.Join(l.dir, fmt.Sprintf("%d-%s.log", len(l.cmds), filepath.Base(cmd.Path))))
	if err != nil {
		return err
	}
	defer log.Close()
	cmd.Stdout, cmd.Stderr = log, log
	if err := cmd.Start(); err != nil {
		return err
	}
	l.cmds = append(l.cmds, cmd)
	for deadline := time.Now().Add(15 * time.Second); time.Now().Before(deadline); time.Sleep(20 * time.Millisecond) {
		if c, err := net.Dial("tcp", addr); err == nil {
			return c.Close()
		}
		if l.ctx.Err() != nil {
			return context.Cause(l.ctx)
		}
	}
	text, _ := os.ReadFile(log.Name())
	return fmt.Errorf("%s does not listen on %s: %s", filepath.Base(cmd.Path), addr, firstLine(text))
}

func (l *lab) write(name, text string) string {
	file := filepath.Join(l.dir, name)
	if err := os.WriteFile(file, []byte(text), 0o644); err != nil {
		panic(err) // in a directory that we have just made
	}
	return file
}

// needs says what is missing of the programs that a measurement takes.
func needs(programs ...string) error {
	var all []error
	for _, name := range programs {
		if _, err := exec.LookPath(name); err != nil {
			all = append(all, fmt.Errorf("%s is not installed", name))
		}
	}
	return errors.Join(all...)
}

func free() string {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		panic(err) // no port is free
	}
	defer l.Close()
	return l.Addr().String()
}

func isDir(path string) bool {
	info, err := os.Stat(path)
	return err == nil && info.IsDir()
}

func firstLine(out []byte) string {
	line, _, _ := strings.Cut(strings.TrimSpace(string(out)), "\n")
	return line
}
