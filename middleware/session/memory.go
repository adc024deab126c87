package session

import (
	"bytes"
	"context"
	"fmt"
	"slices"
	"time"

	"github.com/headgate/headgate/internal/boundedmap"
	"github.com/headgate/headgate/middleware/store"
)

// memoryBackend keeps the same texts in this process. Anonymous sessions have a
// part of their own, so that many of them, which any client can cause, can't
// push out a user who is logged in.
type memoryBackend struct {
	now       func() time.Time
	anonymous *boundedmap.Map[string, keptRecord]
	users     *boundedmap.Map[string, keptRecord]
	indexes   *boundedmap.Map[string, keptIndex]
}

type keptRecord struct {
	text    []byte
	expires time.Time
}

type keptIndex struct {
	entries []entry // never changed, only replaced: readers hold it
	expires time.Time
}

func newMemoryBackend(maxBytes int64, now func() time.Time) *memoryBackend {
	const shards = 16 // an entry must fit into one
	return &memoryBackend{
		now:       now,
		anonymous: boundedmap.New[string, keptRecord](boundedmap.Options{MaxBytes: maxBytes / 4, Shards: shards}),
		users:     boundedmap.New[string, keptRecord](boundedmap.Options{MaxBytes: maxBytes / 2, Shards: shards}),
		indexes:   boundedmap.New[string, keptIndex](boundedmap.Options{MaxBytes: maxBytes / 4, Shards: shards}),
	}
}

// part returns where the handle is kept, or where a record that says so belongs.
func (b *memoryBackend) part(handle string) *boundedmap.Map[string, keptRecord] {
	if _, ok := b.users.Get(handle, b.now()); ok {
		return b.users
	}
	return b.anonymous
}

type memoryFetch struct {
	b       *memoryBackend
	handles []string
}

func (b *memoryBackend) fetch(_ *store.Batch, handles ...string) fetch {
	return memoryFetch{b, handles}
}

func (f memoryFetch) done(context.Context) ([][]byte, error) {
	texts := make([][]byte, len(f.handles))
	for i, handle := range f.handles {
		kept, _ := f.b.part(handle).Get(handle, f.b.now())
		texts[i] = kept.text
	}
	return texts, nil
}

func (b *memoryBackend) gone(_ context.Context, handles []string) ([]bool, error) {
	gone := make([]bool, len(handles))
	for i, handle := range handles {
		_, ok := b.part(handle).Get(handle, b.now())
		gone[i] = !ok
	}
	return gone, nil
}

// memoryTrip runs its steps one after another.
type memoryTrip struct {
	b     *memoryBackend
	steps []func() error
}

func (b *memoryBackend) trip() trip { return &memoryTrip{b: b} }

func (b *memoryBackend) ordered() bool { return true }

func (t *memoryTrip) send(context.Context) error {
	for _, step := range t.steps {
		if err := step(); err != nil {
			return err
		}
	}
	return nil
}

func (t *memoryTrip) add(step func()) {
	t.steps = append(t.steps, func() error { step(); return nil })
}

func (t *memoryTrip) get(handle string) *[]byte {
	text := new([]byte)
	t.add(func() {
		kept, _ := t.b.part(handle).Get(handle, t.b.now())
		*text = kept.text
	})
	return text
}

func (t *memoryTrip) create(handle string, text []byte, ttl time.Duration) {
	t.steps = append(t.steps, func() error { return t.b.create(handle, text, ttl) })
}

func (b *memoryBackend) create(handle string, text []byte, ttl time.Duration) error {
	r, err := decodeRecord(text)
	if err != nil {
		return err
	}
	part := b.anonymous
	if r.User != "" {
		part = b.users
	}
	now := b.now()
	part.Update(handle, now, func(keptRecord, bool) (keptRecord, int, time.Time, bool) {
		return keptAs(handle, text, now.Add(ttl))
	})
	if _, ok := part.Get(handle, now); !ok {
		return fmt.Errorf("%w: no room for a session of %d bytes; raise MemoryBytes", ErrUnavailable, len(text))
	}
	return nil
}

func (t *memoryTrip) swap(handle, head string, text []byte, ttl time.Duration) *swapped {
	s := new(swapped)
	t.add(func() {
		now := t.b.now()
		t.b.part(handle).Update(handle, now, func(old keptRecord, ok bool) (keptRecord, int, time.Time, bool) {
			if !ok {
				s.ended = true
				return keptRecord{}, 0, time.Time{}, false
			}
			if !bytes.HasPrefix(old.text, []byte(head)) {
				s.present = old.text
				return keptAs(handle, old.text, old.expires)
			}
			return keptAs(handle, text, now.Add(ttl))
		})
	})
	return s
}

func keptAs(handle string, text []byte, expires time.Time) (keptRecord, int, time.Time, bool) {
	return keptRecord{text, expires}, len(handle) + len(text), expires, true
}

func (t *memoryTrip) remove(handles ...string) {
	t.add(func() {
		for _, handle := range handles {
			t.b.users.Delete(handle)
			t.b.anonymous.Delete(handle)
		}
	})
}

func (t *memoryTrip) enter(user string, e entry, ttl time.Duration) *[]entry {
	list := new([]entry)
	t.add(func() {
		*list = t.b.reindex(user, ttl, func(entries []entry) []entry {
			return append(without(entries, e.handle), e)
		})
	})
	return list
}

func (t *memoryTrip) list(user string) *[]entry {
	list := new([]entry)
	t.add(func() {
		kept, _ := t.b.indexes.Get(user, t.b.now())
		*list = kept.entries
	})
	return list
}

func (t *memoryTrip) retire(user, handle string) {
	t.add(func() {
		t.b.reindex(user, 0, func(entries []entry) []entry {
			entries = slices.Clone(entries)
			for i := range entries {
				if entries[i].handle == handle {
					entries[i].seen = 0
				}
			}
			return entries
		})
	})
}

func (t *memoryTrip) leave(user string, handles ...string) {
	t.add(func() {
		t.b.reindex(user, 0, func(entries []entry) []entry { return without(entries, handles...) })
	})
}

func (b *memoryBackend) reindex(user string, ttl time.Duration, change func([]entry) []entry) (entries []entry) {
	now := b.now()
	b.indexes.Update(user, now, func(old keptIndex, _ bool) (keptIndex, int, time.Time, bool) {
		entries = change(old.entries)
		expires := old.expires
		if until := now.Add(ttl); until.After(expires) {
			expires = until
		}
		return keptIndex{entries, expires}, len(user) + len(entries)*(handleLen+64), expires, len(entries) > 0
	})
	return entries
}

func (b *memoryBackend) eviction(context.Context) (string, error) { return "", nil }
