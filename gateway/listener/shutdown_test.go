package listener_test

import (
	"context"
	"errors"
	"io"
	"net"
	"net/http"
	"net/netip"
	"sync/atomic"
	"testing"
	"time"

	"github.com/headgate/headgate/gateway/listener"
	"go.uber.org/goleak"
)

func TestShutdownFinishesWhatIsInFlightAndClosesTheRest(t *testing.T) {
	t.Parallel()
	cert, key := keyPair(t, t.TempDir(), "a")
	for name, o := range map[string]listener.Options{"plain": {HTTP1: true}, "TLS": {HTTP1: true, CertFile: cert, KeyFile: key}} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			begun, release := make(chan struct{}), make(chan struct{})
			o.Handler = http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
				if r.URL.Path == "/slow" {
					close(begun)
					<-release
				}
				_, _ = io.WriteString(w, "whole")
			})
			addr, s := start(t, o)
			connect := func() net.Conn {
				if o.CertFile != "" {
					return secure(t, addr)
				}
				return dial(t, addr)
			}
			idle, busy := connect(), connect()
			if !asks(t, idle) {
				t.Fatal("not served")
			}
			send(t, busy, "GET /slow HTTP/1.1\r\nHost: a\r\n\r\n")
			<-begun
			stuck := dial(t, addr) // in its handshake, where there is one
			if o.CertFile == "" {
				stuck = idle
			}
			ended := make(chan error, 1)
			go func() { ended <- s.Shutdown(context.Background()) }()

			for name, c := range map[string]net.Conn{"idle": idle, "stuck": stuck} {
				if _, err := io.ReadAll(c); isTimeout(err) {
					t.Errorf("the %s connection was left open", name)
				}
			}
			if c, err := net.Dial("tcp", addr); err == nil {
				c.Close()
				t.Error("the listener was left open")
			}
			select {
			case err := <-ended:
				t.Fatalf("Shutdown did not wait for the request in flight: %v", err)
			default:
			}
			close(release)
			all, _ := replies(t, busy)
			if len(all) != 1 || all[0].Text != "whole" {
				t.Errorf("answers %v", all)
			}
			if err := <-ended; err != nil {
				t.Errorf("Shutdown: %v", err)
			}
		})
	}
}

func TestShutdownGivesUpWhenItsTimeIsOver(t *testing.T) {
	t.Parallel()
	begun := make(chan struct{})
	addr, s := start(t, listener.Options{Handler: http.HandlerFunc(func(_ http.ResponseWriter, r *http.Request) {
		close(begun)
		<-r.Context().Done()
	})})
	send(t, dial(t, addr), "GET / HTTP/1.1\r\nHost: a\r\n\r\n")
	<-begun
	ctx, cancel := context.WithTimeout(context.Background(), 20*time.Millisecond)
	defer cancel()
	if err := s.Shutdown(ctx); !errors.Is(err, context.DeadlineExceeded) {
		t.Errorf("Shutdown: %v", err)
	}
}

// What a load balancer sends on a kept connection, just when the server is
// told to go, is answered, over both protocols.
func TestDrainDelayAnswersWhatIsOnItsWay(t *testing.T) {
	t.Parallel()
	for name, set := range map[string]func(*http.Protocols){
		"HTTP/1.1": func(p *http.Protocols) { p.SetHTTP1(true) },
		"h2c":      func(p *http.Protocols) { p.SetUnencryptedHTTP2(true) },
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			var conns atomic.Int32
			addr, s := start(t, listener.Options{HTTP1: true, H2C: true, Handler: &recorder{}, DrainDelay: time.Minute, Peer: func(netip.AddrPort) (netip.Addr, bool) {
				conns.Add(1)
				return netip.Addr{}, false
			}, MaxConnectionsPerIP: 1})
			cl := client(set)
			defer cl.CloseIdleConnections()
			get := func() {
				t.Helper()
				res, err := cl.Get("http://" + addr)
				if err != nil {
					t.Fatal(err)
				}
				defer res.Body.Close()
				if text, err := io.ReadAll(res.Body); string(text) != "seen\n" || err != nil {
					t.Errorf("%q, %v", text, err)
				}
			}
			get()
			get()
			if n := conns.Load(); n != 1 {
				t.Fatalf("%d connections for two requests", n)
			}
			ctx, cancel := context.WithCancel(context.Background())
			ended := make(chan error, 1)
			go func() { ended <- s.Shutdown(ctx) }()
			eventually(t, "the client to be told to connect anew", func() bool {
				get() // each of them is answered
				return conns.Load() > 2
			})
			cancel()
			if err := <-ended; err != nil && !errors.Is(err, context.Canceled) {
				t.Errorf("Shutdown: %v", err)
			}
			if c, err := net.Dial("tcp", addr); err == nil {
				c.Close()
				t.Error("the listener was left open")
			}
		})
	}
}

// Whatever the client has sent ahead, so that it cannot be watched.
func TestCloseEndsTheContextsOfRequestsInFlight(t *testing.T) {
	t.Parallel()
	for name, request := range map[string]string{
		"alone":            "GET / HTTP/1.1\r\nHost: a\r\n\r\n",
		"with a pipeline":  "GET / HTTP/1.1\r\nHost: a\r\n\r\nGET",
		"with half a body": post("Content-Length: 3") + "a",
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			waits, ended := make(chan bool, 1), make(chan bool, 1)
			addr, s := start(t, listener.Options{Handler: http.HandlerFunc(func(_ http.ResponseWriter, r *http.Request) {
				done := r.Context().Done()
				waits <- true
				<-done
				ended <- true
			})})
			send(t, dial(t, addr), request)
			<-waits
			if err := s.Close(); err != nil {
				t.Error(err)
			}
			select {
			case <-ended:
			case <-time.After(10 * time.Second):
				t.Error("a context outlives the server")
			}
		})
	}
}

func TestServerThatIsClosedLeavesNothingBehind(t *testing.T) {
	defer goleak.VerifyNone(t, goleak.IgnoreCurrent())
	cert, key := keyPair(t, t.TempDir(), "a")
	s, err := listener.New(listener.Options{Handler: &recorder{}, HTTP1: true, HTTP2: true, CertFile: cert, KeyFile: key})
	if err != nil {
		t.Fatal(err)
	}
	ended := make(chan error, 2)
	var conns []net.Conn
	for range 2 { // several listeners
		l, err := net.Listen("tcp", "127.0.0.1:0")
		if err != nil {
			t.Fatal(err)
		}
		go func() { ended <- s.Serve(l) }()
		for range 3 {
			conns = append(conns, dial(t, l.Addr().String()))
		}
		c := secure(t, l.Addr().String())
		if !asks(t, c) {
			t.Error("not served")
		}
		conns = append(conns, c)
	}
	if err := s.Close(); err != nil {
		t.Error(err)
	}
	for range 2 {
		if err := <-ended; !errors.Is(err, http.ErrServerClosed) {
			t.Errorf("Serve: %v", err)
		}
	}
	for _, c := range conns {
		if _, err := io.ReadAll(c); isTimeout(err) {
			t.Error("a connection was left open")
		}
		c.Close()
	}
	if l, err := net.Listen("tcp", "127.0.0.1:0"); err != nil {
		t.Fatal(err)
	} else if err := s.Serve(l); !errors.Is(err, http.ErrServerClosed) {
		t.Errorf("Serve after Close: %v", err)
	}
}
