//go:build linux

package main

import (
	"net"
	"net/http"
	"sync"
	"time"
)

// appServer is an HTTP server of this process on an address that it keeps.
type appServer struct {
	addr string
	site *site

	mu     sync.Mutex
	server *http.Server  // nil while it is down
	hang   chan struct{} // open while it answers nothing; nil: it answers
	cut    bool          // it breaks off every other answer
	nth    int
}

func startAppServer(s *site) (*appServer, error) {
	a := &appServer{addr: freeAddr(), site: s}
	return a, a.start()
}

func (a *appServer) start() error {
	l, err := net.Listen("tcp", a.addr)
	if err != nil {
		return err
	}
	a.mu.Lock()
	defer a.mu.Unlock()
	a.server = &http.Server{Handler: a, ReadHeaderTimeout: time.Minute}
	go func(s *http.Server) { _ = s.Serve(l) }(a.server)
	return nil
}

// kill closes the listener and all connections, as a crash would.
func (a *appServer) kill() {
	a.mu.Lock()
	defer a.mu.Unlock()
	if a.server != nil {
		_ = a.server.Close()
		a.server = nil
	}
}

// setHang has the app server take requests and answer none, until it is called with false.
func (a *appServer) setHang(on bool) {
	a.mu.Lock()
	defer a.mu.Unlock()
	if on {
		a.hang = make(chan struct{})
	} else if a.hang != nil {
		close(a.hang)
		a.hang = nil
	}
}

// setCut has the app server break off every other answer in its middle.
func (a *appServer) setCut(on bool) {
	a.mu.Lock()
	defer a.mu.Unlock()
	a.cut = on
}

func (a *appServer) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	a.mu.Lock()
	a.nth++
	hang, cut := a.hang, a.cut && a.nth%2 == 0
	a.mu.Unlock()
	if hang != nil {
		select {
		case <-hang:
		case <-r.Context().Done():
			return
		}
	}
	if r.URL.Path == "/healthz" {
		return
	}
	a.site.serve(w, r, cut)
}
