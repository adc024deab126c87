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
	handles []string // never changed, only replaced: readers hold it
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

func (b *memoryBackend) create(_ context.Context, handle string, text []byte, ttl time.Duration) error {
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

func (b *memoryBackend) swap(_ context.Context, handle, head string, text []byte, ttl time.Duration) (present []byte, err error) {
	now := b.now()
	b.part(handle).Update(handle, now, func(old keptRecord, ok bool) (keptRecord, int, time.Time, bool) {
		if !ok {
			err = ErrEnded
			return keptRecord{}, 0, time.Time{}, false
		}
		if !bytes.HasPrefix(old.text, []byte(head)) {
			present = old.text
			return keptAs(handle, old.text, old.expires)
		}
		return keptAs(handle, text, now.Add(ttl))
	})
	return present, err
}

func keptAs(handle string, text []byte, expires time.Time) (keptRecord, int, time.Time, bool) {
	return keptRecord{text, expires}, len(handle) + len(text), expires, true
}

func (b *memoryBackend) remove(_ context.Context, handles ...string) error {
	for _, handle := range handles {
		b.users.Delete(handle)
		b.anonymous.Delete(handle)
	}
	return nil
}

func (b *memoryBackend) index(_ context.Context, user, handle string, _ time.Time, ttl time.Duration) ([]string, error) {
	return b.reindex(user, ttl, func(handles []string) []string {
		return append(without(handles, handle), handle)
	}), nil
}

func (b *memoryBackend) indexed(_ context.Context, user string) ([]string, error) {
	kept, _ := b.indexes.Get(user, b.now())
	return kept.handles, nil
}

func (b *memoryBackend) unindex(_ context.Context, user string, handles ...string) error {
	b.reindex(user, 0, func(present []string) []string { return without(present, handles...) })
	return nil
}

func (b *memoryBackend) reindex(user string, ttl time.Duration, change func([]string) []string) (handles []string) {
	now := b.now()
	b.indexes.Update(user, now, func(old keptIndex, _ bool) (keptIndex, int, time.Time, bool) {
		handles = change(old.handles)
		expires := old.expires
		if until := now.Add(ttl); until.After(expires) {
			expires = until
		}
		return keptIndex{handles, expires}, len(user) + len(handles)*(handleLen+16), expires, len(handles) > 0
	})
	return handles
}

func without(handles []string, gone ...string) []string {
	return slices.DeleteFunc(slices.Clone(handles), func(h string) bool { return slices.Contains(gone, h) })
}

func (b *memoryBackend) eviction(context.Context) (string, error) { return "", nil }
