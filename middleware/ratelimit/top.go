package ratelimit

import (
	"cmp"
	"slices"
	"sync"
	"time"
)

// DeniedKey is a key that was denied often in the last minutes.
type DeniedKey struct {
	Limit string
	// Key is the digest of the key's values, hexadecimal.
	Key string
	// Addr is the client's address, for a limit by IP.
	Addr string
	// Denials counts the denials; it halves every ten minutes. It may be too high by
	// Error.
	Denials, Error int64
}

// topDenied finds the keys that are denied most, among any number of them, in
// fixed space: the space-saving algorithm of Metwally, Agrawal and El Abbadi. A
// new key takes the place of the least denied one and inherits its count as its
// error, so that every key with more than 1/topSize of all denials is in the
// list.
type topDenied struct {
	mu     sync.Mutex
	index  map[counterKey]int
	list   []deniedKey
	halved int64
}

type deniedKey struct {
	key    counterKey
	limit  string
	addr   string
	n, err int64
}

const (
	topSize   = 64
	halfLife  = 10 * time.Minute
	maxHalves = 62
)

func newTopDenied() *topDenied {
	return &topDenied{index: make(map[counterKey]int, topSize)}
}

func (t *topDenied) note(it *item, r *Request, now int64) {
	t.mu.Lock()
	defer t.mu.Unlock()
	t.fade(now)
	i, ok := t.index[it.key]
	if !ok {
		i = t.place(it, r)
	}
	t.list[i].n++
}

// place makes room for a key.
func (t *topDenied) place(it *item, r *Request) int {
	d := deniedKey{key: it.key, limit: it.limit.Name}
	if len(it.limit.Key) == 1 && it.limit.Key[0].Kind == KeyIP {
		d.addr = r.bucket().String()
	}
	i := len(t.list)
	if i < topSize {
		t.list = append(t.list, d)
	} else {
		i = 0
		for j := range t.list {
			if t.list[j].n < t.list[i].n {
				i = j
			}
		}
		delete(t.index, t.list[i].key)
		d.n, d.err = t.list[i].n, t.list[i].n
		t.list[i] = d
	}
	t.index[it.key] = i
	return i
}

// fade halves all counts for each half-life that has passed.
func (t *topDenied) fade(now int64) {
	if t.halved == 0 {
		t.halved = now
	}
	halves := (now - t.halved) / halfLife.Microseconds()
	if halves <= 0 {
		return
	}
	t.halved += halves * halfLife.Microseconds()
	for i := range t.list {
		t.list[i].n >>= min(halves, maxHalves)
		t.list[i].err >>= min(halves, maxHalves)
	}
}

// TopDenied returns the keys that were denied most in the last minutes, the most
// denied first: at most 64.
func (c *Counters) TopDenied() []DeniedKey {
	t := c.top
	t.mu.Lock()
	defer t.mu.Unlock()
	t.fade(c.clock())
	top := make([]DeniedKey, 0, len(t.list))
	for _, d := range t.list {
		if d.n > 0 {
			top = append(top, DeniedKey{Limit: d.limit, Key: d.key.digest.String(), Addr: d.addr, Denials: d.n, Error: d.err})
		}
	}
	slices.SortFunc(top, func(a, b DeniedKey) int {
		return cmp.Or(cmp.Compare(b.Denials, a.Denials), cmp.Compare(a.Limit, b.Limit), cmp.Compare(a.Key, b.Key))
	})
	return top
}
