package cache

import (
	"slices"
	"sync"
	"sync/atomic"
	"time"

	"github.com/maypok86/otter/v2"
)

// resource is all that is stored under one key. It is immutable: a change
// makes another one.
type resource struct {
	keyText  string
	variants []*entry // the newest first
	bytes    int64
}

// localTier holds entries in this process, bounded in bytes. Each rule has a part of it:
// see tierPart. Safe for concurrent use.
type localTier struct {
	clock   func() time.Time
	evicted func(bytes int64)
	parts   atomic.Pointer[map[string]*tierPart] // by the rule's name; a new map for each new part

	limit atomic.Int64 // bytes
	mu    sync.Mutex   // of changes of parts, and of who may take how much
}

func newLocalTier(maxBytes int64, now func() time.Time, evicted func(bytes int64)) *localTier {
	t := &localTier{clock: now, evicted: evicted}
	t.limit.Store(maxBytes)
	t.parts.Store(&map[string]*tierPart{})
	return t
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

// get returns the resource of a rule's key, whose text is compared: a hash alone is
// not trusted.
func (t *localTier) get(rule string, hash keyHash, text []byte) *resource {
	p := (*t.parts.Load())[rule]
	if p == nil {
		return nil
	}
	r, ok := p.cache.GetIfPresent(hash)
	if !ok || r.keyText != string(text) {
		return nil
	}
	return r
}

// put stores a rule's entries, each in place of the one it selects like.
func (t *localTier) put(rule string, hash keyHash, entries ...*entry) {
	if len(entries) == 0 {
		return
	}
	p := t.part(rule)
	t.mayGrow(p)
	p.cache.Compute(hash, func(old *resource, found bool) (*resource, otter.ComputeOp) {
		variants := slices.Clone(entries)
		if found && old.keyText == entries[0].keyText {
			now := t.clock()
			for _, e := range old.variants {
				if i := slices.IndexFunc(entries, func(n *entry) bool { return n.SameVariant(&e.Response) }); i >= 0 {
					entries[i].owned.inherit(&e.owned)
				} else if e.KeepUntil().After(now) {
					variants = append(variants, e)
				}
			}
		}
		for len(variants) > max(maxVariants, len(entries)) {
			out := leastWanted(variants, len(entries))
			variants = slices.Delete(variants, out, out+1)
		}
		sortNewestFirst(variants)
		return newResource(variants), otter.WriteOp
	})
	t.hasGrown(p)
}

// newResource makes a resource of at least one entry.
func newResource(variants []*entry) *resource {
	r := &resource{keyText: variants[0].keyText, variants: variants}
	for _, e := range variants {
		r.bytes += e.weight()
	}
	return r
}

// remove takes an entry out, if it is still there.
func (t *localTier) remove(rule string, hash keyHash, e *entry) {
	p := (*t.parts.Load())[rule]
	if p == nil {
		return
	}
	p.cache.ComputeIfPresent(hash, func(old *resource) (*resource, otter.ComputeOp) {
		kept := slices.DeleteFunc(slices.Clone(old.variants), func(v *entry) bool { return v == e })
		switch len(kept) {
		case len(old.variants):
			return old, otter.CancelOp
		case 0:
			return nil, otter.InvalidateOp
		}
		return newResource(kept), otter.WriteOp
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
