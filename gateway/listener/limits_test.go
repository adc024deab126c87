package listener_test

import (
	"bufio"
	"crypto/tls"
	"errors"
	"io"
	"net"
	"net/http"
	"net/netip"
	"os"
	"strings"
	"sync/atomic"
	"syscall"
	"testing"
	"time"

	"github.com/headgate/headgate/gateway/listener"
)

// asks reports whether a request on the connection is answered.
func asks(t *testing.T, c net.Conn) bool {
	t.Helper()
	send(t, c, "GET / HTTP/1.1\r\nHost: a\r\n\r\n")
	res, err := http.ReadResponse(bufio.NewReader(c), nil)
	if err != nil {
		return false
	}
	_, err = io.Copy(io.Discard, res.Body)
	return err == nil
}

func TestConnectionsPerAddressAreLimited(t *testing.T) {
	t.Parallel()
	cert, key := keyPair(t, t.TempDir(), "a")
	for name, o := range map[string]listener.Options{
		"plain": {HTTP1: true},
		"TLS":   {HTTP1: true, CertFile: cert, KeyFile: key},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			o.Handler, o.MaxConnectionsPerIP = &recorder{}, 2
			addr, _ := start(t, o)
			connect := func() net.Conn {
				if o.CertFile != "" {
					return secure(t, addr)
				}
				return dial(t, addr)
			}
			first, second := connect(), connect()
			if !asks(t, first) || !asks(t, second) {
				t.Fatal("a connection within the limit is not served")
			}
			if third, err := net.Dial("tcp", addr); err == nil { // the reset may be that fast
				if err := readOne(third); err == nil || isTimeout(err) {
					t.Errorf("the connection above the limit was not closed: %v", err)
				}
				third.Close()
			}
			second.Close()
			eventually(t, "a place to become free", func() bool {
				c, err := net.Dial("tcp", addr)
				if err != nil {
					return false
				}
				defer c.Close()
				if o.CertFile != "" {
					err := tls.Client(c, &tls.Config{InsecureSkipVerify: true}).Handshake()
					return err == nil
				}
				return asks(t, c)
			})
			if !asks(t, first) {
				t.Error("the connection that stayed is not served")
			}
		})
	}
}

// readOne waits for a byte, and returns why there is none.
func readOne(c net.Conn) error {
	_ = c.SetReadDeadline(time.Now().Add(10 * time.Second))
	_, err := c.Read(make([]byte, 1))
	return err
}

func TestTrustedPeersAreNotCountedAndOthersByBucket(t *testing.T) {
	t.Parallel()
	var calls atomic.Int32
	addr, _ := start(t, listener.Options{
		Handler: &recorder{}, MaxConnectionsPerIP: 1,
		Peer: func(a netip.AddrPort) (netip.Addr, bool) {
			if !a.Addr().IsLoopback() {
				t.Errorf("peer %v", a)
			}
			// Three trusted ones, then each a bucket of its own, then one bucket.
			switch n := calls.Add(1); {
			case n <= 3:
				return netip.Addr{}, false
			case n <= 6:
				return netip.AddrFrom4([4]byte{10, 0, 0, byte(n)}), true
			}
			return netip.AddrFrom4([4]byte{10, 0, 0, 99}), true
		},
	})
	for i := range 7 {
		if !asks(t, dial(t, addr)) {
			t.Errorf("connection %d is not served", i+1)
		}
	}
	if c, err := net.Dial("tcp", addr); err == nil {
		if asks(t, c) {
			t.Error("a second connection of the same bucket is served")
		}
		c.Close()
	}
}

// faltering is a listener that fails as a system does that is out of descriptors.
type faltering struct {
	net.Listener
	failures atomic.Int32
}

func (l *faltering) Accept() (net.Conn, error) {
	if l.failures.Add(-1) >= 0 {
		return nil, &net.OpError{Op: "accept", Net: "tcp", Err: os.NewSyscallError("accept4", syscall.EMFILE)}
	}
	return l.Listener.Accept()
}

func TestAcceptingGoesOnWhenDescriptorsWereShort(t *testing.T) {
	t.Parallel()
	cert, key := keyPair(t, t.TempDir(), "a")
	for name, o := range map[string]listener.Options{"plain": {}, "TLS": {HTTP1: true, CertFile: cert, KeyFile: key}} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			l, err := net.Listen("tcp", "127.0.0.1:0")
			if err != nil {
				t.Fatal(err)
			}
			f := &faltering{Listener: l}
			f.failures.Store(3)
			var log syncBuffer
			o.Handler, o.Logger = &recorder{}, logTo(&log)
			addr, _ := serve(t, o, f)
			var c net.Conn
			if o.CertFile != "" {
				c = secure(t, addr)
			} else {
				c = dial(t, addr)
			}
			if !asks(t, c) {
				t.Error("not served")
			}
			if n := strings.Count(log.String(), "cannot accept connections for the moment"); n != 3 {
				t.Errorf("logged %d times", n)
			}
		})
	}
}

// broken is a listener that does not work any more.
type broken struct{ net.Listener }

var errBroken = errors.New("the network is gone")

func (broken) Accept() (net.Conn, error) { return nil, errBroken }

func TestListenerThatIsBrokenEndsServing(t *testing.T) {
	t.Parallel()
	cert, key := keyPair(t, t.TempDir(), "a")
	for name, o := range map[string]listener.Options{"plain": {HTTP1: true}, "TLS": {HTTP1: true, CertFile: cert, KeyFile: key}} {
		l, err := net.Listen("tcp", "127.0.0.1:0")
		if err != nil {
			t.Fatal(err)
		}
		o.Handler = &recorder{}
		s, err := listener.New(o)
		if err != nil {
			t.Fatal(err)
		}
		if err := s.Serve(broken{l}); !errors.Is(err, errBroken) {
			t.Errorf("%s: Serve returned %v", name, err)
		}
		if _, err := net.Dial("tcp", l.Addr().String()); err == nil {
			t.Errorf("%s: the listener was left open", name)
		}
	}
}
