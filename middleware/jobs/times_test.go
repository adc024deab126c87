package jobs

import (
	"testing"
	"time"

	"pgregory.net/rapid"
)

// TestTheNewestTimeIsTheLastOfAll compares newest, which looks back in ever longer spans, with going through all times.
func TestTheNewestTimeIsTheLastOfAll(t *testing.T) {
	t.Parallel()
	rapid.Check(t, func(t *rapid.T) {
		s := Schedule{
			Cron:     rapid.SampledFrom([]string{"* * * * *", "*/7 * * * *", "30 2 * * *", "0 */3 * * *", "15 4 * * 0", "0 0 1 * *", "@every 97s", "@hourly", "59 23 31 12 *"}).Draw(t, "cron"),
			Timezone: rapid.SampledFrom([]string{"UTC", "Europe/Berlin", "Australia/Lord_Howe", "America/St_Johns"}).Draw(t, "zone"),
		}
		times, err := s.times()
		if err != nil {
			t.Fatal(err)
		}
		last := time.Unix(rapid.Int64Range(1_760_000_000, 1_800_000_000).Draw(t, "last"), 0)
		now := last.Add(time.Duration(rapid.OneOf(rapid.Int64Range(0, 7200), rapid.Int64Range(0, 40*86400)).Draw(t, "seconds")) * time.Second)
		var want time.Time
		for next := times.next(last); !next.After(now); next = times.next(next) {
			want = next
		}
		if got := times.newest(last, now); !got.Equal(want) {
			t.Fatalf("%s in %s, from %v to %v: the newest is %v, want %v", s.Cron, s.Timezone, last, now, got, want)
		}
	})
}
