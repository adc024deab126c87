package listener

import (
	"testing"
	"time"
)

func TestBodyRate(t *testing.T) {
	t.Parallel()
	type read struct {
		waited time.Duration
		n      int
	}
	for _, tt := range []struct {
		name    string
		reads   []read
		times   int
		survive bool
	}{
		{"nothing at all", []read{{31 * time.Second, 0}}, 1, false},
		{"a byte a minute", []read{{time.Minute, 1}}, 1, false},
		{"a byte a second", []read{{time.Second, 1}}, 40, false},
		{"steady, just fast enough", []read{{time.Second, 240}}, 100_000, true},
		{"steady, just too slow", []read{{time.Second, 230}}, 1000, false},
		{"bursts with pauses", []read{{29 * time.Second, 7000}}, 1000, true},
		{"5 GiB, then a byte a minute", []read{{time.Millisecond, 5 << 30}, {time.Minute, 1}}, 1, false},
		{"ready whenever it is read", []read{{0, 1}}, 1000, true},
	} {
		b := bodyRate{min: 240, grace: 30 * time.Second}
		b.begin()
		for range tt.times {
			for _, r := range tt.reads {
				b.spend(r.waited, r.n)
			}
		}
		if (b.credit > 0) != tt.survive {
			t.Errorf("%s: credit %v", tt.name, b.credit)
		}
	}
}
