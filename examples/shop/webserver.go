package main

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"net/http"
	"sync"
	"time"
)

// webServer is an app server or the balancer, or what plays its process here. It can
// be stopped and started again at its address.
type webServer struct {
	name    string
	handler http.Handler
	log     *slog.Logger

	mu     sync.Mutex
	addr   string // once it has been listened on, with the port that was chosen
	server *http.Server
}

// start listens and serves; it returns when connections are accepted.
func (a *webServer) start() error {
	a.mu.Lock()
	defer a.mu.Unlock()
	if a.server != nil {
		return nil
	}
	listener, err := net.Listen("tcp", a.addr)
	if err != nil {
		return fmt.Errorf("%s: %w; is another shop running?", a.name, err)
	}
	a.addr = listener.Addr().String()
	server := &http.Server{
		Handler:           a.handler,
		ReadHeaderTimeout: 5 * time.Second,
		IdleTimeout:       2 * time.Minute, // longer than gateways keep idle connections, so that they are the ones to close them
		ErrorLog:          slog.NewLogLogger(a.log.Handler(), slog.LevelWarn),
	}
	a.server = server
	go func() {
		if err := server.Serve(listener); !errors.Is(err, http.ErrServerClosed) {
			a.log.Error("a server ended", "server", a.name, "err", err)
		}
	}()
	return nil
}

// kill ends the server as kill -9 would: no answer is finished, and new
// connections are refused.
func (a *webServer) kill() {
	a.mu.Lock()
	defer a.mu.Unlock()
	if a.server != nil {
		a.server.Close()
		a.server = nil
	}
}

// shutdown ends the server when its requests are answered, or ctx ends.
func (a *webServer) shutdown(ctx context.Context) error {
	a.mu.Lock()
	defer a.mu.Unlock()
	if a.server == nil {
		return nil
	}
	defer func() { a.server = nil }()
	return a.server.Shutdown(ctx)
}

func (a *webServer) url() string {
	a.mu.Lock()
	defer a.mu.Unlock()
	return "http://" + a.addr
}
