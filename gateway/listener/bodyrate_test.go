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
		if (b.patience() > 0) != tt.survive {
			t.Errorf("%s: patience %v", tt.name, b.patience())
		}
	}
}

// A bound on the whole body holds whatever the rate, and with no rate at all.
func TestBodyTimeout(t *testing.T) {
	t.Parallel()
	for _, tt := range []struct {
		name    string
		min     int
		waits   int // seconds, with 10,000 bytes each
		survive bool
	}{
		{"in time", 240, 59, true},
		{"too late", 240, 60, false},
		{"in time without a rate", -1, 59, true},
		{"too late without a rate", -1, 60, false},
	} {
		b := bodyRate{min: tt.min, grace: 30 * time.Second, whole: time.Minute}
		b.begin()
		for range tt.waits {
			if next := b.patience(); next > time.Minute {
				t.Fatalf("%s: a read may wait for %v", tt.name, next)
			}
			b.spend(time.Second, 10_000)
		}
		if b.off() || (b.patience() > 0) != tt.survive {
			t.Errorf("%s: patience %v", tt.name, b.patience())
		}
	}
}
