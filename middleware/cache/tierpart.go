package cache

import (
	"maps"
	"math"
	"time"

	"github.com/maypok86/otter/v2"
)

// tierPart is what one rule has stored in the local tier, so that what one rule stores
// does not push out all that another has. Parts that hold something have equal shares of
// the bytes, and one may take more while others leave theirs unused: mayGrow and hasGrown.
// Only what is stored waits for that, never what is read.
type tierPart struct {
	cache *otter.Cache[keyHash, *resource]
	most  int64 // bytes that cache may take; guarded by localTier.mu
}

// part returns the rule's part, and makes one where there is none.
func (t *localTier) part(rule string) *tierPart {
	if p := (*t.parts.Load())[rule]; p != nil {
		return p
	}
	t.mu.Lock()
	defer t.mu.Unlock()
	parts := maps.Clone(*t.parts.Load())
	if p := parts[rule]; p != nil {
		return p
	}
	p := &tierPart{most: t.limit.Load()}
	p.cache = otter.Must(&otter.Options[keyHash, *resource]{
		MaximumWeight: uint64(p.most),
		Weigher: func(_ keyHash, r *resource) uint32 {
			return uint32(min(r.bytes, math.MaxUint32))
		},
		ExpiryCalculator: otter.ExpiryWritingFunc(func(e otter.Entry[keyHash, *resource]) time.Duration {
			return t.keepFor(e.Value)
		}),
		OnDeletion: func(e otter.DeletionEvent[keyHash, *resource]) {
			if e.WasEvicted() {
				t.evicted(e.Value.bytes)
			}
		},
	})
	parts[rule] = p
	t.parts.Store(&parts)
	return p
}

func (p *tierPart) bytes() int64 { return int64(p.cache.WeightedSize()) }

// bound changes what the part may take, and evicts at once what is beyond it.
func (p *tierPart) bound(most int64) {
	if p.most != most {
		p.most = most
		p.cache.SetMaximum(uint64(most))
	}
}

// mayGrow lets a part take its share, and what the others leave unused, before something
// is stored in it.
func (t *localTier) mayGrow(p *tierPart) {
	t.mu.Lock()
	defer t.mu.Unlock()
	used, others, limit := int64(1), int64(0), t.limit.Load()
	for _, other := range *t.parts.Load() {
		if other == p {
			continue
		}
		if n := other.bytes(); n > 0 {
			used++
			others += n
		}
	}
	p.bound(max(limit/used, limit-others))
}

// hasGrown takes from the largest part what a part that keeps to its share has stored
// beyond the bytes of all. Otter accounts for what is written in a goroutine of its own, up to 128 entries for each
// processor later: CleanUp does so now, as that many large bodies would take several times the limit.
func (t *localTier) hasGrown(p *tierPart) {
	p.cache.CleanUp()
	if len(*t.parts.Load()) == 1 {
		return
	}
	t.mu.Lock()
	defer t.mu.Unlock()
	t.trim(p)
}

// trim bounds the largest parts, p last, so that all together take the limit at most.
func (t *localTier) trim(p *tierPart) {
	parts := *t.parts.Load()
	for range len(parts) {
		total, largest := int64(0), p
		for _, other := range parts {
			n := other.bytes()
			total += n
			if other != p && (largest == p || n > largest.bytes()) {
				largest = other
			}
		}
		excess := total - t.limit.Load()
		if excess <= 0 {
			return
		}
		if p != nil && largest.bytes() == 0 {
			largest = p
		}
		largest.bound(max(largest.bytes()-excess, 0))
	}
}

// setLimit changes the bytes that all parts may take together.
func (t *localTier) setLimit(n int64) {
	t.mu.Lock()
	defer t.mu.Unlock()
	t.limit.Store(n)
	t.trim(nil)
}

// size returns how many resources there are, and their bytes.
func (t *localTier) size() (resources int, bytes int64) {
	for _, p := range *t.parts.Load() {
		resources += p.cache.EstimatedSize()
		bytes += p.bytes()
	}
	return resources, bytes
}

func (t *localTier) close() {
	for _, p := range *t.parts.Load() {
		p.cache.StopAllGoroutines()
	}
}
