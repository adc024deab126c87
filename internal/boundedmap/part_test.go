package boundedmap_test

import (
	"fmt"
	"slices"
	"testing"
	"time"

	"github.com/headgate/headgate/internal/boundedmap"
	"pgregory.net/rapid"
)

func putIn(m *boundedmap.Map[string, int], part, k string, size int) {
	m.UpdateIn(part, k, epoch, func(int, bool) (boundedmap.Kept[int], bool) {
		return boundedmap.Kept[int]{Size: size, Expires: epoch.Add(time.Hour)}, true
	})
}

func TestAPartTakesWhatOthersLeaveAndGivesItBack(t *testing.T) {
	dropped := map[string]int{}
	m := boundedmap.New[string, int](boundedmap.Options{MaxBytes: 64 << 10, Shards: 1, Dropped: func(part string) { dropped[part]++ }})
	for i := range 10_000 {
		putIn(m, "flood", fmt.Sprint("flood", i), 0)
	}
	alone := m.Len()
	if b := m.Bytes(); b < 60<<10 || b > 64<<10 {
		t.Errorf("a part alone takes %d bytes of %d", b, 64<<10)
	}
	for i := range alone / 2 {
		putIn(m, "late", fmt.Sprint("late", i), 0)
	}
	if dropped["late"] > 0 {
		t.Errorf("%d entries are dropped of a part that takes no more than its share", dropped["late"])
	}
	for i := range 10_000 {
		putIn(m, "flood", fmt.Sprint("more", i), 0)
	}
	for i := range alone / 2 {
		if _, ok := m.Get(fmt.Sprint("late", i), epoch); !ok {
			t.Fatalf("entry %d of %d is pushed out by another part", i, alone/2)
		}
	}
	if dropped["late"] > 0 || dropped["flood"] != 20_000-(m.Len()-alone/2) {
		t.Errorf("dropped: %v, %d entries are left", dropped, m.Len())
	}
}

func TestASmallerBoundHoldsAtOnce(t *testing.T) {
	m := boundedmap.New[string, int](boundedmap.Options{MaxBytes: 64 << 10, Shards: 4})
	for i := range 10_000 {
		putIn(m, fmt.Sprint(i%3), fmt.Sprint(i), i%100)
	}
	m.SetMaxBytes(16<<10, epoch)
	if b := m.Bytes(); b > 16<<10 || b < 12<<10 {
		t.Errorf("%d bytes after the bound became %d", b, 16<<10)
	}
	m.SetMaxBytes(64<<10, epoch)
	for i := range 10_000 {
		putIn(m, fmt.Sprint(i%3), fmt.Sprint(i), i%100)
	}
	if b := m.Bytes(); b < 60<<10 {
		t.Errorf("%d bytes after the bound became %d again", b, 64<<10)
	}
}

// TestAShardAgreesWithAPlainList: whatever is written, grown, dropped and removed, bytes and entries add up, and a part
// that takes its share at most loses nothing that has not expired.
func TestAShardAgreesWithAPlainList(t *testing.T) {
	overhead := boundedmap.Overhead[int, int]()
	rapid.Check(t, func(t *rapid.T) {
		const maxBytes = 4096
		var s boundedmap.Shard[int, int]
		type entry struct {
			part    string
			expires int64
			size    int64
		}
		model, now := map[int]entry{}, int64(0)
		takes := func(part string) (n int64) {
			for _, e := range model {
				if e.part == part {
					n += e.size
				}
			}
			return n
		}
		sync := func() { // forgets in the model what the shard has dropped
			for k := range model {
				if s.Find(k) == nil {
					delete(model, k)
				}
			}
		}
		write := func(t *rapid.T) {
			k := rapid.IntRange(0, 60).Draw(t, "key")
			e := entry{fmt.Sprint("part", k%4), now + int64(rapid.IntRange(1, 50).Draw(t, "ttl")), overhead + int64(rapid.IntRange(0, 300).Draw(t, "size"))}
			got := s.Add(e.part, k)
			got.Value, got.Expires, got.Rank = k, e.expires, uint8(rapid.IntRange(0, 2).Draw(t, "rank"))
			model[k] = e
			held := map[string]int64{}
			for _, e := range model {
				held[e.part] = takes(e.part)
			}
			for part := range held {
				if held[part] == 0 {
					delete(held, part)
				}
			}
			var lost []string
			s.Wrote(got, e.size, now, maxBytes, func(part string) { lost = append(lost, part) })
			for part, n := range held {
				if part != e.part && n <= maxBytes/int64(len(held)) && slices.Contains(lost, part) {
					t.Fatalf("%s holds %d bytes of %d in %d parts, and loses an entry to %s", part, n, maxBytes, len(held), e.part)
				}
			}
			if s.Find(k) == nil {
				t.Fatal("what was just written is dropped")
			}
			sync()
		}
		t.Repeat(map[string]func(*rapid.T){
			"write":  write,
			"write2": write,
			"remove": func(t *rapid.T) {
				k := rapid.IntRange(0, 60).Draw(t, "key")
				s.Remove(k)
				delete(model, k)
			},
			"wait": func(t *rapid.T) { now += int64(rapid.IntRange(0, 30).Draw(t, "by")) },
			"trim": func(t *rapid.T) {
				to := int64(rapid.IntRange(0, maxBytes).Draw(t, "to"))
				if s.Trim(now, to, nil); s.Bytes() > to {
					t.Fatalf("%d bytes, trimmed to %d", s.Bytes(), to)
				}
				sync()
			},
			"": func(t *rapid.T) {
				var bytes int64
				for k, e := range model {
					got := s.Find(k)
					if got == nil || got.Value != k || got.Expires != e.expires {
						t.Fatalf("key %d is %+v, want %+v", k, got, e)
					}
					bytes += e.size
				}
				if s.Len() != len(model) || s.Bytes() != bytes || bytes > maxBytes {
					t.Fatalf("%d entries of %d bytes; the model has %d of %d", s.Len(), s.Bytes(), len(model), bytes)
				}
			},
		})
	})
}

func TestTheLowestRankMakesRoomFirst(t *testing.T) {
	var s boundedmap.Shard[int, int]
	size := boundedmap.Overhead[int, int]()
	add := func(k int, rank uint8) {
		e := s.Add("", k)
		e.Expires, e.Rank = int64(1000-k), rank // the later ones would expire first
		s.Wrote(e, size, 0, 100*size, nil)
	}
	add(0, 255)
	for k := range 1000 {
		add(k+1, 1)
	}
	if s.Len() != 100 || s.Find(0) == nil {
		t.Errorf("%d entries are left, and of the one of rank 255: %v", s.Len(), s.Find(0) != nil)
	}
}
