// Package dnstest is a small DNS server for tests.
package dnstest

import (
	"context"
	"encoding/binary"
	"io"
	"net"
	"net/netip"
	"strings"
	"sync"
	"testing"
	"time"

	"golang.org/x/net/dns/dnsmessage"

	"github.com/headgate/headgate/middleware/proxy/internal/discovery"
)

// Reply is what the DNS server says to a question of one type.
type Reply struct {
	addresses []netip.Addr
	code      dnsmessage.RCode
	silent    bool // no reply at all
}

// Addrs is a reply with addresses.
func Addrs(texts ...string) Reply {
	var r Reply
	for _, s := range texts {
		r.addresses = append(r.addresses, netip.MustParseAddr(s))
	}
	return r
}

// Replies without an address.
var (
	ServFail = Reply{code: dnsmessage.RCodeServerFailure}
	NXDomain = Reply{code: dnsmessage.RCodeNameError}
	Silent   = Reply{silent: true}
	Empty    = Reply{}
)

// Server is a DNS server on a loopback address, over UDP and TCP.
type Server struct {
	address string

	mu      sync.Mutex
	replies map[dnsmessage.Type]Reply
	asked   map[string]int // questions by name and type
	overTCP int
}

// New starts a server that has no address for any name.
func New(t testing.TB) *Server {
	t.Helper()
	d := &Server{replies: map[dnsmessage.Type]Reply{}, asked: map[string]int{}}
	tcp, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	d.address = tcp.Addr().String()
	udp, err := net.ListenPacket("udp", d.address)
	if err != nil {
		tcp.Close()
		t.Fatal(err)
	}
	var running sync.WaitGroup
	running.Go(func() { d.serveUDP(udp) })
	running.Go(func() { d.serveTCP(tcp) })
	t.Cleanup(func() { udp.Close(); tcp.Close(); running.Wait() })
	return d
}

// Set sets what the server answers from now on.
func (d *Server) Set(a, aaaa Reply) {
	d.mu.Lock()
	defer d.mu.Unlock()
	d.replies[dnsmessage.TypeA], d.replies[dnsmessage.TypeAAAA] = a, aaaa
}

// Questions is how often a name was asked for, by type ("A", "AAAA").
func (d *Server) Questions(name, typ string) int {
	d.mu.Lock()
	defer d.mu.Unlock()
	return d.asked[name+" "+typ]
}

// Settle returns when the server has counted every question that has been sent so far.
func (d *Server) Settle(t testing.TB) {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
	defer cancel()
	_, _ = d.Resolver().LookupNetIP(ctx, "ip4", "settle.test") // answered after them, whatever the answer
	if ctx.Err() != nil {
		t.Fatal("the DNS server does not answer")
	}
}

// Truncated is how many replies had to be asked for again over TCP.
func (d *Server) Truncated() int {
	d.mu.Lock()
	defer d.mu.Unlock()
	return d.overTCP
}

// Resolver returns Go's resolver, which asks this server.
func (d *Server) Resolver() *net.Resolver {
	return discovery.NewResolver(func(ctx context.Context, network, _ string) (net.Conn, error) {
		return new(net.Dialer).DialContext(ctx, network, d.address)
	})
}

// Impatient returns a resolver that gives up soon where the server is silent, and waits where it is not.
func (d *Server) Impatient() discovery.Resolver { return impatient{d, d.Resolver()} }

type impatient struct {
	server *Server
	inner  *net.Resolver
}

func (r impatient) LookupNetIP(ctx context.Context, network, host string) ([]netip.Addr, error) {
	typ := map[string]dnsmessage.Type{"ip4": dnsmessage.TypeA, "ip6": dnsmessage.TypeAAAA}[network]
	r.server.mu.Lock()
	silent := r.server.replies[typ].silent
	r.server.mu.Unlock()
	if silent {
		var cancel context.CancelFunc
		ctx, cancel = context.WithTimeout(ctx, 20*time.Millisecond)
		defer cancel()
	}
	return r.inner.LookupNetIP(ctx, network, host)
}

func (d *Server) serveUDP(pc net.PacketConn) {
	buf := make([]byte, 1500)
	for {
		n, from, err := pc.ReadFrom(buf)
		if err != nil {
			return
		}
		if msg := d.respond(buf[:n], 512); msg != nil {
			_, _ = pc.WriteTo(msg, from)
		}
	}
}

func (d *Server) serveTCP(l net.Listener) {
	for {
		conn, err := l.Accept()
		if err != nil {
			return
		}
		d.serveConn(conn)
	}
}

func (d *Server) serveConn(conn net.Conn) {
	defer conn.Close()
	var size [2]byte
	if _, err := io.ReadFull(conn, size[:]); err != nil {
		return
	}
	query := make([]byte, binary.BigEndian.Uint16(size[:]))
	if _, err := io.ReadFull(conn, query); err != nil {
		return
	}
	if msg := d.respond(query, 65535); msg != nil {
		_, _ = conn.Write(append(binary.BigEndian.AppendUint16(nil, uint16(len(msg))), msg...))
	}
}

// respond makes the reply to a query; nil is silence. One longer than most is truncated to its head.
func (d *Server) respond(query []byte, most int) []byte {
	var p dnsmessage.Parser
	head, err := p.Start(query)
	if err != nil {
		return nil
	}
	q, err := p.Question()
	if err != nil {
		return nil
	}
	d.mu.Lock()
	d.asked[strings.TrimSuffix(q.Name.String(), ".")+" "+strings.TrimPrefix(q.Type.String(), "Type")]++
	if most > 512 {
		d.overTCP++
	}
	r := d.replies[q.Type]
	d.mu.Unlock()
	if r.silent {
		return nil
	}
	msg := dnsmessage.Message{
		Header: dnsmessage.Header{ID: head.ID, Response: true, Authoritative: true, RCode: r.code,
			RecursionDesired: head.RecursionDesired, RecursionAvailable: true},
		Questions: []dnsmessage.Question{q},
	}
	for _, a := range r.addresses {
		rr := dnsmessage.Resource{Header: dnsmessage.ResourceHeader{Name: q.Name, Class: q.Class, TTL: 1}}
		if a.Is4() {
			rr.Body = &dnsmessage.AResource{A: a.As4()}
		} else {
			rr.Body = &dnsmessage.AAAAResource{AAAA: a.As16()}
		}
		msg.Answers = append(msg.Answers, rr)
	}
	packed, err := msg.Pack()
	if err == nil && len(packed) > most {
		msg.Answers, msg.Truncated = nil, true
		packed, err = msg.Pack()
	}
	if err != nil {
		return nil
	}
	return packed
}
