package boundedmap_test

import (
	"fmt"
	"sync"
	"testing"
	"time"

	"github.com/headgate/headgate/internal/boundedmap"
	"pgregory.net/rapid"
)

var epoch = time.Unix(1_700_000_000, 0)

func put(m *boundedmap.Map[string, int], k string, v int, now time.Time, ttl time.Duration) {
	m.Update(k, now, func(int, bool) (int, int, time.Time, bool) { return v, len(k), now.Add(ttl), true })
}

func TestMapAgreesWithAPlainMapWhileThereIsRoom(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		m := boundedmap.New[string, int](boundedmap.Options{MaxBytes: 1 << 20, Shards: 2})
		type entry struct {
			v       int
			expires time.Time
		}
		model := map[string]entry{}
		now := epoch
		keys := rapid.SampledFrom([]string{"a", "b", "c", "d", "e", "f"})
		t.Repeat(map[string]func(*rapid.T){
			"put": func(t *rapid.T) {
				k, v := keys.Draw(t, "k"), rapid.Int().Draw(t, "v")
				ttl := time.Duration(rapid.IntRange(-1, 5).Draw(t, "ttl")) * time.Second
				put(m, k, v, now, ttl)
				model[k] = entry{v, now.Add(ttl)}
			},
			"add one": func(t *rapid.T) {
				k := keys.Draw(t, "k")
				m.Update(k, now, func(v int, ok bool) (int, int, time.Time, bool) {
					want, there := model[k]
					if there = there && want.expires.After(now); ok != there || (ok && v != want.v) {
						t.Fatalf("%s is %d, %v; want %d, %v", k, v, ok, want.v, there)
					}
					return v + 1, 0, now.Add(time.Second), ok
				})
				if e, ok := model[k]; ok && e.expires.After(now) {
					model[k] = entry{e.v + 1, now.Add(time.Second)}
				}
			},
			"delete": func(t *rapid.T) {
				k := keys.Draw(t, "k")
				m.Delete(k)
				delete(model, k)
			},
			"wait": func(t *rapid.T) {
				now = now.Add(time.Duration(rapid.IntRange(0, 3000).Draw(t, "ms")) * time.Millisecond)
			},
			"": func(t *rapid.T) {
				for _, k := range []string{"a", "b", "c", "d", "e", "f"} {
					v, ok := m.Get(k, now)
					want, there := model[k]
					if there = there && want.expires.After(now); ok != there || (ok && v != want.v) {
						t.Fatalf("%s is %d, %v; want %d, %v", k, v, ok, want.v, there)
					}
				}
			},
		})
	})
}

func TestMapStaysWithinItsBytesAndKeepsWhatWasJustWritten(t *testing.T) {
	const limit = 64 << 10
	m := boundedmap.New[string, int](boundedmap.Options{MaxBytes: limit, Shards: 4})
	for i := range 100_000 {
		k := fmt.Sprint("key", i)
		put(m, k, i, epoch, time.Duration(1+i%7)*time.Hour)
		if v, ok := m.Get(k, epoch); !ok || v != i {
			t.Fatalf("%s is gone at once", k)
		}
	}
	if b := m.Bytes(); b > limit {
		t.Errorf("%d bytes held, %d allowed", b, limit)
	}
	if m.Len() < 100 {
		t.Errorf("only %d entries held", m.Len())
	}
}

func TestMapForgetsExpiredEntriesAsNewOnesCome(t *testing.T) {
	m := boundedmap.New[string, int](boundedmap.Options{MaxBytes: 1 << 30, Shards: 1})
	now := epoch
	for i := range 10_000 {
		put(m, fmt.Sprint("key", i), i, now, time.Second)
		now = now.Add(10 * time.Millisecond) // a hundred live at a time
	}
	if n := m.Len(); n > 300 {
		t.Errorf("%d entries held, about 100 are live", n)
	}
}

func TestMapRefusesAnEntryLargerThanAShard(t *testing.T) {
	m := boundedmap.New[string, int](boundedmap.Options{MaxBytes: 4096, Shards: 1})
	put(m, "small", 1, epoch, time.Hour)
	m.Update("large", epoch, func(int, bool) (int, int, time.Time, bool) { return 2, 5000, epoch.Add(time.Hour), true })
	if _, ok := m.Get("large", epoch); ok {
		t.Error("the large entry is kept")
	}
	if _, ok := m.Get("small", epoch); !ok {
		t.Error("the small entry made room for one that was refused")
	}
	m.Clear()
	if m.Len() != 0 || m.Bytes() != 0 {
		t.Error("Clear leaves something")
	}
}

func TestMapUpdatesAreAtomic(t *testing.T) {
	m := boundedmap.New[string, int](boundedmap.Options{MaxBytes: 1 << 20})
	var wg sync.WaitGroup
	for range 8 {
		wg.Go(func() {
			for range 1000 {
				m.Update("n", epoch, func(v int, _ bool) (int, int, time.Time, bool) { return v + 1, 0, epoch.Add(time.Hour), true })
			}
		})
	}
	wg.Wait()
	if v, _ := m.Get("n", epoch); v != 8000 {
		t.Errorf("%d after 8000 increments", v)
	}
}

func BenchmarkMapUpdate(b *testing.B) {
	m := boundedmap.New[string, int](boundedmap.Options{MaxBytes: 64 << 20})
	keys := make([]string, 4096)
	for i := range keys {
		keys[i] = fmt.Sprint("key", i)
	}
	b.ReportAllocs()
	b.RunParallel(func(pb *testing.PB) {
		for i := 0; pb.Next(); i++ {
			m.Update(keys[i&4095], epoch, func(v int, _ bool) (int, int, time.Time, bool) { return v + 1, 0, epoch.Add(time.Hour), true })
		}
	})
}
