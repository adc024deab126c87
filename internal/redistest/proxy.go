package redistest

import (
	"bytes"
	"fmt"
	"net"
	"sync"
	"testing"
	"time"
)

// Proxy is a TCP proxy in front of a server, for what networks do: it cuts
// connections, swallows what is sent, delays, stalls or corrupts replies. Its methods may
// be called concurrently.
type Proxy struct {
	Addr string // host:port
	URL  string // redis://host:port

	target string
	listen net.Listener
	host   []byte // replaces 127.0.0.1 in replies; nil: they pass as they are

	mu      sync.Mutex
	conns   map[net.Conn]struct{} // both sides
	refuse  bool
	swallow bool
	corrupt bool
	delay   time.Duration
	limit   int            // bytes of replies on one connection before then happens; 0: no limit
	then    func(net.Conn) // what happens to the connection to the client
	changed chan struct{}  // closed and replaced at each change
	closed  bool
	work    sync.WaitGroup
}

// StartProxy runs a proxy to the server at addr until the test ends.
func StartProxy(t testing.TB, addr string) *Proxy {
	t.Helper()
	p, err := LaunchProxy("127.0.0.1:0", addr)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(p.Close)
	return p
}

// LaunchProxy is [StartProxy] for where there is no test. It listens at the address
// listen and runs until Close. Where that is another loopback address than 127.0.0.1 of
// as many bytes, such as 127.0.0.2, the proxy puts it in the place of 127.0.0.1 in
// replies, so that a client of a Cluster or of Sentinels stays on the proxies at that
// address, which have their servers' ports. It does so in values, too: keep 127.0.0.1 out
// of them.
func LaunchProxy(listen, addr string) (*Proxy, error) {
	l, err := net.Listen("tcp", listen)
	if err != nil {
		return nil, fmt.Errorf("redistest: %w", err)
	}
	p := &Proxy{
		Addr: l.Addr().String(), URL: "redis://" + l.Addr().String(),
		target: addr, listen: l, conns: map[net.Conn]struct{}{}, changed: make(chan struct{}),
	}
	if host, _, _ := net.SplitHostPort(p.Addr); host != localhost && len(host) == len(localhost) {
		p.host = []byte(host)
	}
	p.work.Go(p.accept)
	return p, nil
}

const localhost = "127.0.0.1"

// Close ends the proxy and its connections. [StartProxy] does so by itself.
func (p *Proxy) Close() {
	_ = p.listen.Close()
	p.change(func() { p.closed = true; p.cut() })
	p.work.Wait()
}

// Cut closes all connections and refuses new ones, until Heal.
func (p *Proxy) Cut() { p.change(func() { p.refuse = true; p.cut() }) }

// Reset closes all connections once; new ones are welcome.
func (p *Proxy) Reset() { p.change(p.cut) }

// Swallow loses all that either side sends, without closing anything, until Heal:
// what a partition looks like while nobody has noticed. What was swallowed stays lost.
func (p *Proxy) Swallow() { p.change(func() { p.swallow = true }) }

// Delay has each piece of a reply come this much later, until Heal.
func (p *Proxy) Delay(d time.Duration) { p.change(func() { p.delay = d }) }

// Corrupt replaces the first octet of each reply, which says of what type it is, until
// Heal. What changes a value and leaves its type and length, no client of Redis can
// notice without TLS; so that is not what this does.
func (p *Proxy) Corrupt() { p.change(func() { p.corrupt = true }) }

// StallAfter stops the replies on each connection after so many bytes, until Heal.
func (p *Proxy) StallAfter(bytes int) {
	p.change(func() { p.limit, p.then = bytes, nil })
}

// CutAfter resets each connection after so many bytes of replies, until Heal.
func (p *Proxy) CutAfter(bytes int) {
	p.change(func() {
		p.limit = bytes
		p.then = func(c net.Conn) {
			if tcp, ok := c.(*net.TCPConn); ok {
				_ = tcp.SetLinger(0) // a reset, not an orderly end
			}
			_ = c.Close()
		}
	})
}

// Heal ends all of the above. Connections that lost something while Swallow was in
// force are closed: their two sides no longer agree on what was said.
func (p *Proxy) Heal() {
	p.change(func() {
		if p.swallow {
			p.cut()
		}
		p.refuse, p.swallow, p.corrupt, p.delay, p.limit, p.then = false, false, false, 0, 0, nil
	})
}

func (p *Proxy) change(f func()) {
	p.mu.Lock()
	defer p.mu.Unlock()
	f()
	close(p.changed)
	p.changed = make(chan struct{})
}

// cut closes every connection. p.mu is held.
func (p *Proxy) cut() {
	for c := range p.conns {
		_ = c.Close()
	}
	clear(p.conns)
}

func (p *Proxy) accept() {
	for {
		client, err := p.listen.Accept()
		if err != nil {
			return
		}
		p.work.Go(func() { p.serve(client) })
	}
}

func (p *Proxy) serve(client net.Conn) {
	defer client.Close()
	if !p.keep(client) {
		return
	}
	server, err := net.Dial("tcp", p.target)
	if err != nil {
		return
	}
	defer server.Close()
	if !p.keep(server) {
		return
	}
	var both sync.WaitGroup
	both.Go(func() { p.copy(server, client, false) })
	both.Go(func() { p.copy(client, server, true) })
	both.Wait()
	p.mu.Lock()
	defer p.mu.Unlock()
	delete(p.conns, client)
	delete(p.conns, server)
}

func (p *Proxy) keep(c net.Conn) bool {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.refuse || p.closed {
		return false
	}
	p.conns[c] = struct{}{}
	return true
}

// copy moves bytes from src to dst. It ends both when either ends.
func (p *Proxy) copy(dst, src net.Conn, replies bool) {
	defer dst.Close()
	defer src.Close()
	buf := make([]byte, 32<<10)
	passed, begins := 0, true
	for {
		n, err := src.Read(buf)
		if err != nil {
			return
		}
		piece := buf[:n]
		if replies {
			ends := bytes.HasSuffix(piece, []byte("\r\n"))
			piece = p.rewrite(piece, begins)
			begins = ends
		}
		if !p.pass(dst, piece, replies, &passed) {
			return
		}
	}
}

// rewrite returns a piece of replies as the client is to see it. begins says that the
// piece does not begin within a reply: the one before ended as replies do.
func (p *Proxy) rewrite(piece []byte, begins bool) []byte {
	if p.host != nil {
		piece = bytes.ReplaceAll(piece, []byte(localhost), p.host)
	}
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.corrupt && begins && bytes.IndexByte([]byte("$*:+-"), piece[0]) >= 0 {
		piece[0] = 0
	}
	return piece
}

// pass does to a piece what is in force. It returns false where the connection is over.
func (p *Proxy) pass(dst net.Conn, piece []byte, replies bool, passed *int) bool {
	if replies {
		p.mu.Lock()
		delay := p.delay
		p.mu.Unlock()
		time.Sleep(delay)
	}
	for {
		p.mu.Lock()
		swallow, limit, then, changed, closed := p.swallow, p.limit, p.then, p.changed, p.closed
		p.mu.Unlock()
		switch {
		case closed:
			return false
		case swallow:
			return true
		case replies && limit > 0 && *passed+len(piece) > limit:
			if room := limit - *passed; room > 0 {
				if _, err := dst.Write(piece[:room]); err != nil {
					return false
				}
				piece, *passed = piece[room:], limit
			}
			if then != nil {
				then(dst)
				return false
			}
			<-changed
			continue
		}
		*passed += len(piece)
		_, err := dst.Write(piece)
		return err == nil
	}
}
