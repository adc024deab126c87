package cache

import (
	"math"
	"slices"
	"time"

	"github.com/maypok86/otter/v2"
)

// maxVariants bounds the stored responses of one resource, in both tiers.
const maxVariants = 32

// resource is all that is stored under one key. It is immutable: a change
// makes another one.
type resource struct {
	keyText  string
	variants []*entry // the newest first
	bytes    int64
}

// localTier holds entries in this process, bounded in bytes. Safe for
// concurrent use.
type localTier struct {
	cache *otter.Cache[keyHash, *resource]
	clock func() time.Time
}

func newLocalTier(maxBytes int64, now func() time.Time, evicted func(bytes int64)) (*localTier, error) {
	t := &localTier{clock: now}
	c, err := otter.New(&otter.Options[keyHash, *resource]{
		MaximumWeight: uint64(maxBytes),
		Weigher: func(_ keyHash, r *resource) uint32 {
			return uint32(min(r.bytes, math.MaxUint32))
		},
		ExpiryCalculator: otter.ExpiryWritingFunc(func(e otter.Entry[keyHash, *resource]) time.Duration {
			return t.keepFor(e.Value)
		}),
		OnDeletion: func(e otter.DeletionEvent[keyHash, *resource]) {
			if e.WasEvicted() {
				evicted(e.Value.bytes)
			}
		},
	})
	if err != nil {
		return nil, err
	}
	t.cache = c
	return t, nil
}

// keepFor bounds the memory of what no client asks for any more. Whether an entry
// may be used is decided by the reader, with the injected clock.
func (t *localTier) keepFor(r *resource) time.Duration {
	now, keep := t.clock(), time.Minute
	for _, e := range r.variants {
		keep = max(keep, e.KeepUntil().Sub(now))
	}
	return keep
}

// get returns the resource of a key, whose text is compared: a hash alone is
// not trusted.
func (t *localTier) get(hash keyHash, text []byte) *resource {
	r, ok := t.cache.GetIfPresent(hash)
	if !ok || r.keyText != string(text) {
		return nil
	}
	return r
}

// put stores entries, each in place of the one it selects like.
func (t *localTier) put(hash keyHash, entries ...*entry) {
	if len(entries) == 0 {
		return
	}
	t.cache.Compute(hash, func(old *resource, found bool) (*resource, otter.ComputeOp) {
		r := &resource{keyText: entries[0].keyText, variants: slices.Clone(entries)}
		if found && old.keyText == r.keyText {
			now := t.clock()
			for _, e := range old.variants {
				replaced := slices.ContainsFunc(entries, func(n *entry) bool { return n.SameVariant(&e.Response) })
				if !replaced && e.KeepUntil().After(now) && len(r.variants) < maxVariants {
					r.variants = append(r.variants, e)
				}
			}
		}
		sortNewestFirst(r.variants)
		for _, e := range r.variants {
			r.bytes += e.weight()
		}
		return r, otter.WriteOp
	})
}

// remove takes an entry out, if it is still there.
func (t *localTier) remove(hash keyHash, e *entry) {
	t.cache.ComputeIfPresent(hash, func(old *resource) (*resource, otter.ComputeOp) {
		kept := slices.DeleteFunc(slices.Clone(old.variants), func(v *entry) bool { return v == e })
		if len(kept) == len(old.variants) {
			return old, otter.CancelOp
		}
		if len(kept) == 0 {
			return nil, otter.InvalidateOp
		}
		r := &resource{keyText: old.keyText, variants: kept}
		for _, v := range kept {
			r.bytes += v.weight()
		}
		return r, otter.WriteOp
	})
}

// sortNewestFirst orders as RFC 9111 section 4 chooses: by Date.
func sortNewestFirst(entries []*entry) {
	slices.SortStableFunc(entries, func(a, b *entry) int {
		if c := b.Date.Compare(a.Date); c != 0 {
			return c
		}
		return b.Received.Compare(a.Received)
	})
}
