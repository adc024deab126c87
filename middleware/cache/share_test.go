package cache

import (
	"fmt"
	"net/netip"
	"testing"
	"time"

	"pgregory.net/rapid"
)

// What a client has added and has not expired is within its share, or it is one
// response; and when a third more than its time is over the client may add again.
func TestClientAddsItsShareAndNoMore(t *testing.T) {
	t.Parallel()
	rapid.Check(t, func(t *rapid.T) {
		const most = 1000
		now := time.Unix(1_800_000_000, 0)
		shares := newClientShares(func() time.Time { return now }, func() int64 { return most })
		client := netip.MustParseAddr("192.0.2.1")
		type response struct {
			bytes int64
			ends  time.Time
			gone  time.Time // by when it must not count any more
		}
		var added []response
		t.Repeat(map[string]func(*rapid.T){
			"add": func(t *rapid.T) {
				r := response{bytes: rapid.Int64Range(1, 1500).Draw(t, "bytes")}
				keep := time.Duration(rapid.IntRange(1, 5000).Draw(t, "seconds")) * time.Second
				r.ends, r.gone = now.Add(keep), now.Add(keep+keep/3+time.Second)
				var live int64
				free := true // nothing can count any more
				for _, a := range added {
					if a.ends.After(now) {
						live += a.bytes
					}
					free = free && !a.gone.After(now)
				}
				switch ok := shares.add(client, r.bytes, keep); {
				case ok && live > 0 && live+r.bytes > most:
					t.Fatalf("%d bytes were added to %d, with a share of %d", r.bytes, live, most)
				case !ok && free:
					t.Fatal("refused although all has expired")
				case ok:
					added = append(added, r)
				}
			},
			"time passes": func(t *rapid.T) {
				now = now.Add(time.Duration(rapid.IntRange(1, 3000).Draw(t, "seconds")) * time.Second)
			},
		})
	})
}

func TestClientsTakeBoundedMemory(t *testing.T) {
	t.Parallel()
	shares := newClientShares(time.Now, func() int64 { return 1 << 20 })
	for i := range 50_000 {
		shares.add(netip.AddrFrom4([4]byte{10, byte(i >> 16), byte(i >> 8), byte(i)}), 1000, time.Hour)
	}
	if n := shares.added.Bytes(); n > shareBytes {
		t.Error(fmt.Sprint(n, " bytes for clients"))
	}
}
