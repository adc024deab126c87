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
	// Values are the key's values, as [Counters.Reset] takes them: in full where they name a person or a program, or
	// something of the policy; of headers, cookies and parameters four characters and a hash.
	Values []string
	// Addr is the client's address, for a limit by IP.
	Addr string
	// Denials counts the denials; it halves every ten minutes. It may be too high by
	// Error.
	Denials, Error int64
	// Last is when it was denied last; the zero Time: not as far as is known. RetryAfter is when it is
	// admitted again, as far as it was told; of a banned key, when the ban ends.
	Last       time.Time
	RetryAfter time.Duration
	Banned     bool

	tag string
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
	key         counterKey
	tag         digest
	limit       string
	byAddr      bool // the key is the address alone
	values      []listedValue
	n, err      int64
	last, until int64 // when it was denied last, and until when
	banned      bool
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
	d := &t.list[i]
	d.n++
	d.last, d.until, d.banned = now, now+it.RetryAfter.Microseconds(), it.Banned
}

// place makes room for a key.
func (t *topDenied) place(it *item, r *Request) int {
	d := deniedKey{key: it.key, tag: it.tag, limit: it.limit.Name}
	d.byAddr = len(it.limit.Key) == 1 && it.limit.Key[0].Kind == KeyIP
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
		d.values = t.list[i].values[:0]
		t.list[i] = d
	}
	t.list[i].values = appendListed(d.values, it.limit.Key, r)
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

// all returns the keys that are in the list now.
func (t *topDenied) all(now int64) []deniedKey {
	t.mu.Lock()
	defer t.mu.Unlock()
	t.fade(now)
	all := make([]deniedKey, 0, len(t.list))
	for _, d := range t.list {
		if d.n > 0 {
			d.values = slices.Clone(d.values)
			all = append(all, d)
		}
	}
	return all
}

// forget notes that a key is not denied any more, and reports whether it was in the list. Its denials
// of before stay counted.
func (t *topDenied) forget(k counterKey) bool {
	t.mu.Lock()
	defer t.mu.Unlock()
	i, ok := t.index[k]
	if ok {
		d := &t.list[i]
		d.last, d.until, d.banned = 0, 0, false
	}
	return ok
}

// TopDenied returns the keys that were denied most in the last minutes, the most
// denied first: at most 64.
func (c *Counters) TopDenied() []DeniedKey {
	var top []DeniedKey
	for _, d := range c.top.all(c.clock()) {
		k := DeniedKey{Limit: d.limit, Key: d.key.digest.String(), Values: texts(d.values), Denials: d.n, Error: d.err}
		if d.byAddr {
			k.Addr = k.Values[0]
		}
		top = append(top, k)
	}
	slices.SortFunc(top, func(a, b DeniedKey) int {
		return cmp.Or(cmp.Compare(b.Denials, a.Denials), cmp.Compare(a.Limit, b.Limit), cmp.Compare(a.Key, b.Key))
	})
	return top
}
