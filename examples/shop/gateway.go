package main

import (
	"context"
	_ "embed"
	"fmt"
	"log/slog"
	"sync"

	"github.com/headgate/headgate/gateway/server"
	"github.com/headgate/headgate/policies"
)

// The policy is part of the program, so that it runs from any folder.
//
//go:embed headgate.yaml
var policyFile []byte

// gateway is one of the two gateways. It can be stopped and started again at its address.
type gateway struct {
	name string
	// env finds the policy's variables, but for SHOP_LISTEN, which is addr.
	env func(string) (string, bool)
	// shared holds what the gateways have in common where the policy names no Redis.
	shared *server.Shared
	log    *slog.Logger

	mu      sync.Mutex
	addr    string // once it has been listened on, with the port that was chosen
	running *server.Server
}

// start starts the gateway; it returns when connections are accepted.
func (g *gateway) start() error {
	g.mu.Lock()
	defer g.mu.Unlock()
	if g.running != nil {
		return nil
	}
	env := func(name string) (string, bool) {
		if name == "SHOP_LISTEN" {
			return g.addr, true
		}
		return g.env(name)
	}
	policy, problems := policies.Parse("headgate.yaml", policyFile, policies.LoadOptions{LookupEnv: env})
	if err := problems.Err(); err != nil {
		return err
	}
	s, err := server.New(server.Options{Policy: policy, Shared: g.shared, Logger: g.log})
	if err != nil {
		return fmt.Errorf("%s: %w", g.name, err)
	}
	g.running = s
	if err := s.Start(); err != nil {
		return fmt.Errorf("%s: %w", g.name, err)
	}
	g.addr = s.Addr()
	return nil
}

// kill ends the gateway and waits for no request.
func (g *gateway) kill() {
	now, cancel := context.WithCancel(context.Background())
	cancel()
	_ = g.shutdown(now) // the error says that it has not waited
}

// shutdown ends the gateway when its requests are answered, or ctx ends.
func (g *gateway) shutdown(ctx context.Context) error {
	g.mu.Lock()
	defer g.mu.Unlock()
	if g.running == nil {
		return nil
	}
	defer func() { g.running = nil }()
	return g.running.Shutdown(ctx)
}

// adminAddr is where its admin listener is; "" while it does not run.
func (g *gateway) adminAddr() string {
	g.mu.Lock()
	defer g.mu.Unlock()
	if g.running == nil {
		return ""
	}
	return g.running.AdminAddr()
}

// Addr is where the gateway listens.
func (g *gateway) Addr() string {
	g.mu.Lock()
	defer g.mu.Unlock()
	return g.addr
}
