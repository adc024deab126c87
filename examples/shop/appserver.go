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

// appServer is one of the processes that the gateway stands in front of, or
// what plays one here. It can be stopped and started again at its address.
type appServer struct {
	name    string
	handler http.Handler
	log     *slog.Logger

	mu     sync.Mutex
	addr   string // once it has been listened on, with the port that was chosen
	server *http.Server
}

// start listens and serves; it returns when connections are accepted.
func (a *appServer) start() error {
	a.mu.Lock()
	defer a.mu.Unlock()
	if a.server != nil {
		return nil
	}
	listener, err := net.Listen("tcp", a.addr)
	if err != nil {
		return fmt.Errorf("app server %s: %w; is another shop running?", a.name, err)
	}
	a.addr = listener.Addr().String()
	server := &http.Server{
		Handler:           a.handler,
		ReadHeaderTimeout: 5 * time.Second,
		IdleTimeout:       2 * time.Minute, // longer than the gateway keeps idle connections, so that it is the one to close them
		ErrorLog:          slog.NewLogLogger(a.log.Handler(), slog.LevelWarn),
	}
	a.server = server
	go func() {
		if err := server.Serve(listener); !errors.Is(err, http.ErrServerClosed) {
			a.log.Error("app server ended", "server", a.name, "err", err)
		}
	}()
	return nil
}

// kill ends the server as kill -9 would: no answer is finished, and new
// connections are refused.
func (a *appServer) kill() {
	a.mu.Lock()
	defer a.mu.Unlock()
	if a.server != nil {
		a.server.Close()
		a.server = nil
	}
}

// shutdown ends the server when its requests are answered, or ctx ends.
func (a *appServer) shutdown(ctx context.Context) error {
	a.mu.Lock()
	defer a.mu.Unlock()
	if a.server == nil {
		return nil
	}
	defer func() { a.server = nil }()
	return a.server.Shutdown(ctx)
}

func (a *appServer) url() string {
	a.mu.Lock()
	defer a.mu.Unlock()
	return "http://" + a.addr
}
