package listener

import (
	"net"
	"net/netip"
	"sync"
)

// peers counts the connections of each bucket of addresses. An address without
// a connection takes no memory.
type peers struct {
	max    int // 0: any number
	bucket func(netip.AddrPort) (netip.Addr, bool)

	mu   sync.Mutex
	open map[netip.Addr]int
	most int // addresses at a time, since open was made
}

func newPeers(limit int, bucket func(netip.AddrPort) (netip.Addr, bool)) *peers {
	return &peers{max: limit, bucket: bucket, open: map[netip.Addr]int{}}
}

// admit counts a connection, unless its bucket has enough. release must then
// be called once, when the connection is closed.
func (p *peers) admit(c net.Conn) (release func(), ok bool) {
	a, isTCP := c.RemoteAddr().(*net.TCPAddr)
	if p.max == 0 || !isTCP {
		return func() {}, true
	}
	addr, counted := p.bucket(a.AddrPort())
	if !counted {
		return func() {}, true
	}
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.open[addr] >= p.max {
		return nil, false
	}
	p.open[addr]++
	p.most = max(p.most, len(p.open))
	return func() { p.release(addr) }, true
}

func (p *peers) release(addr netip.Addr) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.open[addr]--; p.open[addr] > 0 {
		return
	}
	delete(p.open, addr)
	if len(p.open) == 0 && p.most > 1024 { // maps do not shrink
		p.open, p.most = map[netip.Addr]int{}, 0
	}
}
