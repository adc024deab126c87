package networks_test

import (
	"fmt"
	"net/netip"
	"testing"

	"github.com/headgate/headgate/internal/networks"
	"pgregory.net/rapid"
)

func TestTheNetworkThatHoldsAnAddressIsFound(t *testing.T) {
	t.Parallel()
	table := networks.New(entries("0.0.0.0/1", "10.0.0.0/8", "10.0.0.0/24", "10.0.0.255/32", "128.0.0.0/1", "255.255.255.255/32", "2001:db8::/32", "2001:db8::1/128", "ff00::/8"), nil)
	for addr, want := range map[string]string{
		"0.0.0.0": "0.0.0.0/1", "9.255.255.255": "0.0.0.0/1", "10.0.0.0": "10.0.0.0/24", "10.0.0.254": "10.0.0.0/24", "10.0.0.255": "10.0.0.255/32",
		"10.0.1.0": "10.0.0.0/8", "11.0.0.0": "0.0.0.0/1", "255.255.255.254": "128.0.0.0/1", "255.255.255.255": "255.255.255.255/32",
		"::": "", "::1": "", "2001:db7:ffff::": "", "2001:db8::": "2001:db8::/32", "2001:db8::1": "2001:db8::1/128", "2001:db8::2": "2001:db8::/32",
		"2001:db9::": "", "ffff:ffff:ffff:ffff:ffff:ffff:ffff:ffff": "ff00::/8",
	} {
		if got := find(table, netip.MustParseAddr(addr)); got != want {
			t.Errorf("%s: %q, want %q", addr, got, want)
		}
	}
	var none networks.Table[string]
	if none.Find(netip.MustParseAddr("192.0.2.1")) != nil || table.Find(netip.Addr{}) != nil {
		t.Error("something is found where nothing is")
	}
}

// TestATableFindsWhatASearchThroughAllNetworksDoes: of the networks that hold an address, the one
// counts that no narrower one is better than.
func TestATableFindsWhatASearchThroughAllNetworksDoes(t *testing.T) {
	t.Parallel()
	rapid.Check(t, func(t *rapid.T) {
		ranks := map[netip.Prefix]int{}
		var all []networks.Entry[int]
		for range rapid.IntRange(0, 40).Draw(t, "networks") {
			p := drawPrefix(t)
			if _, twice := ranks[p]; !twice {
				ranks[p] = rapid.IntRange(0, 1000).Draw(t, "rank")*64 + len(all) // no two alike
				all = append(all, networks.Entry[int]{Network: p, Value: ranks[p]})
			}
		}
		innermost := networks.New(append([]networks.Entry[int](nil), all...), nil)
		highest := networks.New(all, func(inner, outer int) bool { return inner > outer })
		for range 50 {
			addr := drawPrefix(t).Addr()
			bits, best := -1, -1
			narrowest := 0
			for p, rank := range ranks {
				if p.Contains(addr) {
					best = max(best, rank)
					if p.Bits() > bits {
						bits, narrowest = p.Bits(), rank
					}
				}
			}
			for _, check := range []struct {
				table *networks.Table[int]
				want  int
			}{{innermost, narrowest}, {highest, best}} {
				switch got := check.table.Find(addr); {
				case got == nil && bits >= 0, got != nil && bits < 0:
					t.Fatalf("%s: %v, among %v", addr, got, ranks)
				case got != nil && got.Value != check.want:
					t.Fatalf("%s: %v, want %d, among %v", addr, got, check.want, ranks)
				}
			}
		}
	})
}

// drawPrefix draws from few bits, so that networks are within each other and at the ends of the families.
func drawPrefix(t *rapid.T) netip.Prefix {
	const ends = "\x00\x01\x7f\x80\xfe\xff"
	one := func() byte { return ends[rapid.IntRange(0, len(ends)-1).Draw(t, "byte")] }
	if rapid.Bool().Draw(t, "IPv6") {
		p, _ := netip.AddrFrom16([16]byte{one(), one(), 14: one(), 15: one()}).Prefix(rapid.SampledFrom([]int{0, 1, 8, 15, 16, 127, 128}).Draw(t, "bits"))
		return p
	}
	p, _ := netip.AddrFrom4([4]byte{one(), one(), one(), one()}).Prefix(rapid.SampledFrom([]int{0, 1, 8, 9, 16, 31, 32}).Draw(t, "bits"))
	return p
}

func entries(of ...string) (all []networks.Entry[string]) {
	for _, s := range of {
		all = append(all, networks.Entry[string]{Network: netip.MustParsePrefix(s), Value: s})
	}
	return all
}

func find(table *networks.Table[string], addr netip.Addr) string {
	if e := table.Find(addr); e != nil {
		return e.Value
	}
	return ""
}

func BenchmarkFind(b *testing.B) {
	for _, n := range []int{1, 100, 100_000} {
		b.Run(fmt.Sprint(n), func(b *testing.B) {
			var all []networks.Entry[int]
			for i := range n {
				all = append(all, networks.Entry[int]{Network: netip.PrefixFrom(netip.AddrFrom4([4]byte{10, byte(i >> 15), byte(i >> 7), byte(i << 1)}), 32)})
			}
			table := networks.New(all, nil)
			b.ReportAllocs()
			i := uint32(0)
			for b.Loop() {
				i += 2654435761
				table.Find(netip.AddrFrom4([4]byte{10, byte(i >> 24 & 3), byte(i >> 16), byte(i >> 8)}))
			}
		})
	}
}
