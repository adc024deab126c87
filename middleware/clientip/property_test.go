package clientip_test

import (
	"fmt"
	"math/rand/v2"
	"net/netip"
	"strings"
	"testing"

	"pgregory.net/rapid"

	"github.com/headgate/headgate/middleware/clientip"
)

// chooser is what both rapid and the fuzz targets can be: a source of choices.
type chooser func(n int) int

// chain is a request's way through honest proxies, after a client that is not.
type chain struct {
	header string
	choose chooser
}

// deliver passes a header that the client wrote through hops trusted proxies. Each
// appends the address it sees, in one of the ways in which proxies do. The last of them
// is the socket's peer. The client's true address is what must be found.
func (c chain) deliver(written []string, trueClient netip.Addr, hops int) (peer string, lines []string) {
	lines = written
	asker := trueClient
	for range hops {
		lines = c.append(lines, c.element(asker))
		asker = c.proxyAddr()
	}
	return c.socketAddr(asker), lines
}

// append adds an element in a line of its own, or to the last line, or to all lines
// joined.
func (c chain) append(lines []string, element string) []string {
	separator := []string{", ", ",", " ,\t", ",,"}[c.choose(4)]
	switch way := c.choose(3); {
	case way == 0 || len(lines) == 0:
		return append(lines[:len(lines):len(lines)], element)
	case way == 1:
		last := len(lines) - 1
		return append(lines[:last:last], lines[last]+separator+element)
	default:
		return []string{strings.Join(lines, separator) + separator + element}
	}
}

func (c chain) element(asker netip.Addr) string {
	if c.header == xff {
		return c.node(asker)
	}
	pair := c.param("for", c.node(asker))
	before, after := "", ""
	if c.choose(2) == 0 {
		before = c.param("by", "_gw") + ";"
	}
	if c.choose(2) == 0 {
		after = ";" + c.param("host", `example.com, for=203.0.113.1;x="\y`)
	}
	return before + pair + after
}

// param quotes where it must, and elsewhere at times.
func (c chain) param(name, value string) string {
	name = []string{name, strings.ToUpper(name)}[c.choose(2)]
	if strings.ContainsAny(value, `:[], ;="\`) || c.choose(2) == 0 {
		value = `"` + strings.NewReplacer(`\`, `\\`, `"`, `\"`).Replace(value) + `"`
	}
	return name + "=" + value
}

func (c chain) node(addr netip.Addr) string {
	s := addr.String()
	if addr.Is4() && c.choose(3) == 0 {
		s = "::ffff:" + s
	}
	if !strings.Contains(s, ":") {
		return s + []string{"", ":80", ":65535"}[c.choose(3)]
	}
	if c.choose(4) == 0 {
		s += "%eth0"
	}
	switch c.choose(3) {
	case 0:
		return "[" + s + "]"
	case 1:
		return "[" + s + "]:443"
	default:
		return s
	}
}

func (c chain) socketAddr(addr netip.Addr) string {
	return netip.AddrPortFrom(addr, uint16(1+c.choose(65535))).String()
}

func (c chain) proxyAddr() netip.Addr {
	if c.choose(3) == 0 {
		return netip.MustParseAddr(fmt.Sprintf("2001:db8:ff::%x", c.choose(1<<16)))
	}
	return netip.AddrFrom4([4]byte{10, byte(c.choose(256)), byte(c.choose(256)), byte(c.choose(256))})
}

func (c chain) clientAddr() netip.Addr {
	if c.choose(2) == 0 {
		return netip.MustParseAddr(fmt.Sprintf("2001:db8:%x::%x", 0x100+c.choose(1<<15), c.choose(1<<16)))
	}
	return netip.AddrFrom4([4]byte{byte(11 + c.choose(80)), byte(c.choose(256)), byte(c.choose(256)), byte(c.choose(256))})
}

func TestWhateverTheClientWritesItsTrueAddressIsFound(t *testing.T) {
	t.Parallel()
	for _, header := range []string{xff, forwarded} {
		t.Run(header, func(t *testing.T) {
			t.Parallel()
			res := behindProxies(t, header)
			// What matters to either parser, in any order, and anything else.
			written := rapid.SliceOfN(rapid.OneOf(
				rapid.StringOf(rapid.SampledFrom([]rune("\",;=\\[]:%. \tfor1a_"))),
				rapid.StringMatching(`(for="?203\.0\.113\.[1-9]"?[,;"\\]? ?)*`),
				rapid.StringMatching(`(10\.0\.0\.[1-9][, ]*)*`),
				rapid.Map(rapid.SliceOf(rapid.Byte()), func(b []byte) string { return string(b) }),
			), 0, 4)
			rapid.Check(t, func(t *rapid.T) {
				c := chain{header, func(n int) int { return rapid.IntRange(0, n-1).Draw(t, "choice") }}
				want := c.clientAddr()
				peer, lines := c.deliver(written.Draw(t, "written"), want, rapid.IntRange(0, 5).Draw(t, "hops"))
				if got := res.Resolve(request(peer, header, lines...)); got != want {
					t.Fatalf("peer %s, %q: got %s, want %s", peer, lines, got, want)
				}
			})
		})
	}
}

func FuzzXForwardedFor(f *testing.F) {
	for _, s := range []string{"", ",", "203.0.113.66", "10.0.0.1,", `"`, "[::1%]:1", "::ffff:1.2.3.4%a", strings.Repeat(",", 300)} {
		f.Add(s, uint64(1))
	}
	fuzzHeader(f, xff)
}

func FuzzForwarded(f *testing.F) {
	for _, s := range []string{"", `for="`, `for="x\`, `for=unknown;x="`, `for="[::1]:_p",`, `;;=`, `for="\`, strings.Repeat(`",`, 300)} {
		f.Add(s, uint64(1))
	}
	fuzzHeader(f, forwarded)
}

// fuzzHeader checks what holds for every header: through honest proxies the truth comes
// out, and even who trusts everybody gets an address, in its one form.
func fuzzHeader(f *testing.F, header string) {
	res := behindProxies(f, header)
	gullible := newResolver(f, clientip.Options{
		Header:         header,
		TrustedProxies: []netip.Prefix{netip.MustParsePrefix("0.0.0.0/0"), netip.MustParsePrefix("::/0")},
	})
	f.Fuzz(func(t *testing.T, written string, seed uint64) {
		rnd := rand.New(rand.NewPCG(seed, 0))
		c := chain{header, rnd.IntN}
		want := c.clientAddr()
		peer, lines := c.deliver(strings.Split(written, "\n"), want, 1+rnd.IntN(3))
		r := request(peer, header, lines...)
		if got := res.Resolve(r); got != want {
			t.Errorf("peer %s, %q: got %s, want %s", peer, lines, got, want)
		}
		info := gullible.Info(request(peer, header, strings.Split(written, "\n")...))
		for _, addr := range []netip.Addr{info.Addr, info.Bucket} {
			if !addr.IsValid() || addr.Is4In6() || addr.Zone() != "" {
				t.Errorf("%q gives %s", written, addr)
			}
		}
	})
}
