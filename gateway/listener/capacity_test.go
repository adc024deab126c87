package listener_test

import (
	"context"
	"crypto/tls"
	"io"
	"net"
	"net/http"
	"testing"
	"time"

	"github.com/headgate/headgate/gateway/listener"
)

// crowd is a server, and clients that have a connection each.
type crowd struct {
	t       *testing.T
	addr    string
	server  *listener.Server
	options listener.Options
	begun   chan string   // the names of requests that are under way
	finish  chan struct{} // ends them
}

func newCrowd(t *testing.T, o listener.Options) *crowd {
	c := &crowd{t: t, options: o, begun: make(chan string, 100), finish: make(chan struct{})}
	o.Handler = http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if r.URL.Path == "/busy" {
			c.begun <- r.URL.RawQuery
			<-c.finish
		}
	})
	c.addr, c.server = start(t, o)
	return c
}

// client returns a client that keeps one connection.
func (c *crowd) client() *http.Client {
	tr := &http.Transport{TLSClientConfig: &tls.Config{InsecureSkipVerify: true}, MaxConnsPerHost: 1, Protocols: new(http.Protocols)}
	tr.Protocols.SetHTTP1(c.options.HTTP1)
	tr.Protocols.SetHTTP2(c.options.HTTP2)
	tr.Protocols.SetUnencryptedHTTP2(c.options.H2C)
	c.t.Cleanup(tr.CloseIdleConnections)
	return &http.Client{Transport: tr}
}

func (c *crowd) ask(client *http.Client, path string) error {
	scheme := "http://"
	if c.options.CertFile != "" {
		scheme = "https://"
	}
	ctx, cancel := context.WithTimeout(context.Background(), time.Minute)
	defer cancel()
	req, _ := http.NewRequestWithContext(ctx, "GET", scheme+c.addr+path, nil)
	res, err := client.Do(req)
	if err != nil {
		return err
	}
	defer res.Body.Close()
	_, err = io.Copy(io.Discard, res.Body)
	return err
}

// occupy has a new client's request be under way. A connection is idle only a moment after its client has the answer,
// so it may take more than one try.
func (c *crowd) occupy(name string) (answered chan error) {
	answered = make(chan error, 1)
	eventually(c.t, name+" is served", func() bool {
		failed := make(chan error, 1)
		go func() {
			err := c.ask(c.client(), "/busy?"+name)
			failed <- err
			answered <- err
		}()
		select {
		case got := <-c.begun:
			if got != name {
				c.t.Errorf("%s has begun, want %s", got, name)
			}
			return true
		case <-failed:
			<-answered
			return false
		}
	})
	return answered
}

func TestIdleConnectionsMakeRoomAndOthersAreRefusedAtTheLimit(t *testing.T) {
	t.Parallel()
	cert, key := keyPair(t, t.TempDir(), "a")
	for name, o := range map[string]listener.Options{
		"plain":  {HTTP1: true},
		"TLS":    {HTTP1: true, CertFile: cert, KeyFile: key},
		"HTTP/2": {HTTP2: true, CertFile: cert, KeyFile: key},
		"h2c":    {H2C: true},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			o.MaxConnections = 3
			c := newCrowd(t, o)
			for range 2 { // which stay idle
				if err := c.ask(c.client(), "/"); err != nil {
					t.Fatal(err)
				}
			}
			first := c.occupy("first")
			second := c.occupy("second") // in the place of one that is idle
			third := c.occupy("third")   // and of the other
			if got := c.server.Connections(); got.Open != 3 || got.GivenUp != 2 || got.Max != 3 {
				t.Errorf("%+v, want 3 open of 3 and 2 given up", got)
			}
			before := c.server.Connections().Refused
			if err := c.ask(c.client(), "/"); err == nil {
				t.Error("one more than the limit is served")
			}
			if got := c.server.Connections().Refused; got <= before {
				t.Errorf("%d refused, before it was %d", got, before)
			}
			close(c.finish)
			for _, answered := range []chan error{first, second, third} {
				if err := <-answered; err != nil {
					t.Errorf("a request that was under way: %v", err)
				}
			}
			eventually(t, "a new client is served again", func() bool { return c.ask(c.client(), "/") == nil })
		})
	}
}

// Connections that are opened and say nothing keep no one out.
func TestSilentConnectionsMakeRoom(t *testing.T) {
	t.Parallel()
	cert, key := keyPair(t, t.TempDir(), "a")
	for name, o := range map[string]listener.Options{
		"plain": {HTTP1: true},
		"TLS":   {HTTP1: true, HTTP2: true, CertFile: cert, KeyFile: key},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			o.MaxConnections, o.ReadHeaderTimeout = 2, time.Hour
			c := newCrowd(t, o)
			for i := range 2 {
				conn := dial(t, c.addr)
				if o.CertFile != "" {
					protocol := []string{"http/1.1", "h2"}[i]
					if err := tls.Client(conn, &tls.Config{InsecureSkipVerify: true, NextProtos: []string{protocol}}).Handshake(); err != nil {
						t.Fatal(err)
					}
				}
			}
			eventually(t, "a client that speaks is served", func() bool { return c.ask(c.client(), "/") == nil })
		})
	}
}

// A system that is out of descriptors gets some back.
func TestIdleConnectionsAreGivenUpWhenDescriptorsAreUsedUp(t *testing.T) {
	t.Parallel()
	real, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	l := &faltering{Listener: real}
	addr, s := serve(t, listener.Options{Handler: &recorder{}}, l)
	idle := dial(t, addr)
	if !asks(t, idle) {
		t.Fatal("not served")
	}
	eventually(t, "the idle connection is closed", func() bool {
		l.failures.Store(1) // of the accept after the next
		return asks(t, dial(t, addr)) && s.Connections().GivenUp > 0
	})
	if err := readOne(idle); err != io.EOF {
		t.Errorf("the connection that was idle for longest: %v", err)
	}
}

func TestReserveLendsADescriptorAndGetsItBack(t *testing.T) {
	t.Parallel()
	r := listener.NewReserve(2)
	if err := r.Fill(); err != nil {
		t.Fatal(err)
	}
	defer r.Close()
	real, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	l := &faltering{Listener: real}
	admin := r.Listener(l)
	defer admin.Close()
	accept := func() error {
		dial(t, real.Addr().String())
		c, err := admin.Accept()
		if err == nil {
			c.Close()
		}
		return err
	}
	l.failures.Store(2)
	if err := accept(); err != nil {
		t.Errorf("with two descriptors in the reserve: %v", err)
	}
	eventually(t, "the reserve is full again", func() bool {
		l.failures.Store(2)
		return accept() == nil
	})
	l.failures.Store(9)
	if err := accept(); err == nil {
		t.Error("more was lent than there was")
	}
}
