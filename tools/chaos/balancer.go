//go:build linux

package main

import (
	"context"
	"fmt"
	"io"
	"net"
	"os"
	"path/filepath"
	"strings"
)

// balancer is an HAProxy before the gateways.
type balancer struct {
	addr, stats string
	proc        *process
}

// balancerText tries connections alone again, never a request. It keeps connections to gateways
// and uses them for all clients, as only then an answer could reach the wrong one.
const balancerText = `
global
    stats socket %s
defaults
    mode http
    timeout connect 2s
    timeout client 60s
    timeout server 30s
    timeout check 2s
    retries 3
    option redispatch
    http-reuse always
listen gateways
    bind %s
    balance random
    option httpchk GET /readyz
    default-server check inter 200ms fall 2 rise 1 pool-purge-delay 1s
`

func startBalancer(ctx context.Context, dir string, gateways []*gateway) (*balancer, error) {
	program, err := look("haproxy")
	if err != nil {
		return nil, err
	}
	b := &balancer{addr: freeAddr(), stats: filepath.Join(dir, "haproxy.sock")}
	text := fmt.Sprintf(balancerText, b.stats, b.addr)
	for _, g := range gateways {
		_, port, _ := net.SplitHostPort(g.admin)
		text += fmt.Sprintf("    server %s %s port %s\n", g.name, g.addr, port)
	}
	file := filepath.Join(dir, "haproxy.cfg")
	if err := os.WriteFile(file, []byte(text), 0o600); err != nil {
		return nil, err
	}
	if b.proc, err = startProcess(filepath.Join(dir, "haproxy.log"), program, "-db", "-f", file); err != nil {
		return nil, err
	}
	return b, eventually(ctx, "HAProxy uses all gateways", func() error { return b.uses(gateways...) })
}

// uses returns an error unless HAProxy sends requests to each of these gateways.
func (b *balancer) uses(gateways ...*gateway) error {
	if !b.proc.running() {
		return fmt.Errorf("haproxy: %w; its log is beside %s", errEnded, b.stats)
	}
	c, err := net.Dial("unix", b.stats)
	if err != nil {
		return err
	}
	defer c.Close()
	_, _ = io.WriteString(c, "show stat\n")
	text, err := io.ReadAll(c)
	if err != nil {
		return err
	}
	up := map[string]bool{}
	for line := range strings.Lines(string(text)) {
		if fields := strings.Split(line, ","); len(fields) > 17 {
			up[fields[1]] = fields[17] == "UP"
		}
	}
	for _, g := range gateways {
		if !up[g.name] {
			return fmt.Errorf("HAProxy has %s as down", g.name)
		}
	}
	return nil
}
