package replay_test

import (
	"encoding/binary"
	"fmt"
	"net/netip"
	"slices"
	"testing"
	"time"

	"github.com/headgate/headgate/gateway/replay"
	"pgregory.net/rapid"
)

func TestACourseOfTimeOfAnyLengthIsBoundedAndComplete(t *testing.T) {
	t.Parallel()
	rapid.Check(t, func(t *rapid.T) {
		span := rapid.SampledFrom([]time.Duration{time.Second, time.Hour, 24 * time.Hour, 400 * 24 * time.Hour, 90 * 365 * 24 * time.Hour}).Draw(t, "span")
		from := rapid.Int64Range(0, 2e15).Draw(t, "from")
		times := rapid.SliceOfN(rapid.Int64Range(from, from+span.Microseconds()), 1, 200).Draw(t, "times")
		slices.Sort(times)
		s := replay.CountSeries(times)
		if len(s.Points) > replay.MaxSteps {
			t.Fatalf("%d steps", len(s.Points))
		}
		for i, p := range s.Points { // each step holds what is of its time
			begin := s.Start.UnixMicro() + int64(i)*int64(s.Step*1e6)
			var want int64
			for _, at := range times {
				if at >= begin && at < begin+int64(s.Step*1e6) {
					want++
				}
			}
			if p.Requests != want {
				t.Fatalf("step %d from %v: %d, want %d", i, begin, p.Requests, want)
			}
		}
		if last := s.Start.UnixMicro() + int64(len(s.Points))*int64(s.Step*1e6); last <= times[len(times)-1] {
			t.Fatalf("the last request is beyond the last step")
		}
	})
}

func TestAFloodOfPathsDoesNotHideTheFrequentOne(t *testing.T) {
	t.Parallel()
	var all []string
	for i := range 20_000 {
		all = append(all, fmt.Sprintf("/scan/%d", i))
		if i%10 == 0 {
			all = append(all, "/wp-login.php")
		}
	}
	top := replay.CountPaths(all, 1)
	low := 2000 - int64(len(all)/replay.MaxPaths)
	if len(top) != 1 || top[0].Path != "/wp-login.php" || top[0].Count > 2000 || top[0].Count < low {
		t.Errorf("%+v, want about 2000, no less than %d", top, low)
	}
}

func TestAFloodOfClientsDoesNotHideThoseThatAreDenied(t *testing.T) {
	t.Parallel()
	bad := netip.MustParseAddr("192.0.2.1")
	var addrs []netip.Addr
	for i := range uint32(50_000) {
		addrs = append(addrs, netip.AddrFrom4([4]byte(binary.BigEndian.AppendUint32(nil, 0x0a000000+i))))
		if i%100 == 0 {
			addrs = append(addrs, bad)
		}
	}
	kept, denials := replay.CountClients(1000, addrs, func(a netip.Addr) bool { return a == bad })
	if kept != 1000 || len(denials) != 1 || denials[bad] != 500 {
		t.Errorf("%d kept, denials %v", kept, denials)
	}
	// Where all are denied, newcomers go uncounted rather than memory without bound.
	if kept, denials := replay.CountClients(1000, addrs, func(netip.Addr) bool { return true }); kept != 1000 || len(denials) != 1000 {
		t.Errorf("%d kept, %d denied", kept, len(denials))
	}
}
