package proxy

import (
	"crypto/tls"
	"errors"
	"fmt"
	"net"
	"sync"
	"time"
)

// preface is a socket of HTTP/2. It follows what is read until the server's SETTINGS are in force, which are the first that it sends (RFC 9113
// section 3.4): until then net/http believes in a hundred requests at once, and writes what is no HTTP/2 on stderr.
type preface struct {
	net.Conn

	// The goroutine that reads has these to itself.
	head   [9]byte // of the first frame
	seen   int     // of head
	left   int     // of the frame behind it
	passed bool

	once sync.Once
	over chan struct{} // closed when the SETTINGS are in force, or there is an error
	err  error         // read after over
}

var (
	errNoSettings = errors.New("the server has not sent HTTP/2's SETTINGS in time")
	errNotHTTP2   = errors.New("the server does not speak HTTP/2")
)

const frameSettings = 0x4

// Read implements io.Reader.
func (p *preface) Read(b []byte) (int, error) {
	if p.passed {
		return p.Conn.Read(b)
	}
	if p.seen == len(p.head) && p.left <= 0 { // who reads on has dealt with the frame
		p.passed = true
		p.end(nil)
		return p.Conn.Read(b)
	}
	n, err := p.Conn.Read(b)
	if err == nil {
		err = p.follow(b[:n])
	}
	if err != nil {
		p.end(fmt.Errorf("waiting for HTTP/2's SETTINGS: %w", err))
		return 0, err
	}
	return n, nil
}

func (p *preface) follow(b []byte) error {
	if p.seen == len(p.head) {
		p.left -= len(b)
		return nil
	}
	n := copy(p.head[p.seen:], b)
	if p.seen += n; p.seen < len(p.head) {
		return nil
	}
	if p.head[3] != frameSettings {
		return errNotHTTP2
	}
	p.left = (int(p.head[0])<<16 | int(p.head[1])<<8 | int(p.head[2])) - len(b[n:])
	return nil
}

func (p *preface) end(err error) {
	p.once.Do(func() {
		p.err = err
		close(p.over)
	})
}

// fail gives the socket up, unless the SETTINGS have come.
func (p *preface) fail(err error) {
	p.end(err)
	if p.err != nil {
		p.Close()
	}
}

// Close implements io.Closer.
func (p *preface) Close() error {
	p.end(net.ErrClosed)
	// TLS says good-bye, which must not take long.
	timer := time.AfterFunc(250*time.Millisecond, func() { p.socket().Close() })
	defer timer.Stop()
	return p.Conn.Close()
}

// socket is what is below TLS.
func (p *preface) socket() net.Conn {
	if secure, ok := p.Conn.(*tls.Conn); ok {
		return secure.NetConn()
	}
	return p.Conn
}

// conn is the socket as net/http is given it, which asks it for the state of TLS.
func (p *preface) conn() net.Conn {
	if secure, ok := p.Conn.(*tls.Conn); ok {
		return securePreface{p, secure}
	}
	return p
}

type securePreface struct {
	*preface
	secure *tls.Conn
}

func (p securePreface) ConnectionState() tls.ConnectionState { return p.secure.ConnectionState() }
