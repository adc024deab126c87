package cache

import (
	"hash/fnv"
	"net/netip"
	"slices"
	"sync/atomic"
)

// maxVariants bounds the stored responses of one resource, in both tiers.
const maxVariants = 32

// owner names the client whose request alone a variant has served; 0: it has served
// several, or the client is not known. A client that makes up values of a Vary field
// loses its own variants by that, and not those that others ask for.
type owner uint32

func ownerOf(client netip.Addr) owner {
	if !client.IsValid() {
		return 0
	}
	h := fnv.New32a()
	b := client.As16()
	_, _ = h.Write(b[:])
	return owner(h.Sum32())
}

// owned is the owner of an entry. It is safe for concurrent use.
type owned struct{ id atomic.Uint32 }

func (o *owned) by(id owner) { o.id.Store(uint32(id)) }

func (o *owned) owner() owner { return owner(o.id.Load()) }

// inherit notes that the entry takes the place of another: what has served several clients will again.
func (o *owned) inherit(old *owned) {
	if old.owner() != o.owner() {
		o.by(0)
	}
}

// usedBy notes that the entry has served a client.
func (o *owned) usedBy(x *request) {
	if id := o.owner(); id != 0 && id != ownerOf(x.client()) {
		o.by(0)
	}
}

// owner returns the one client that a fetch was for, 0 where there were several.
func (t *fetch) owner() owner {
	id := ownerOf(t.j.client)
	for _, client := range t.f.Clients() {
		if ownerOf(client) != id {
			return 0
		}
	}
	return id
}

// spared are the variants of a resource that this instance knows to have served several clients, by
// their names in the index, where they are so many that one may have to leave.
func (c *Cache) spared(j *job) (fields []string) {
	res := c.local.get(j.rule.Name, j.hash, []byte(j.storing.keyText))
	if res == nil || len(res.variants) < maxVariants/2 {
		return nil
	}
	for _, e := range res.variants {
		if e.owned.owner() == 0 {
			fields = append(fields, e.field())
		}
	}
	return fields
}

// leastWanted returns the index of the variant that makes room for another: of the client
// that has the most, where one has several, else of those that have served one client
// alone; of these the oldest. keep are the first few, which stay.
func leastWanted(variants []*entry, keep int) int {
	counts := map[owner]int{}
	for _, e := range variants {
		counts[e.owned.owner()]++
	}
	rank := func(e *entry) int {
		if id := e.owned.owner(); id != 0 {
			return counts[id]
		}
		return 0
	}
	candidates := variants[keep:]
	out := slices.MinFunc(candidates, func(a, b *entry) int {
		if byRank := rank(b) - rank(a); byRank != 0 {
			return byRank
		}
		return a.Received.Compare(b.Received)
	})
	return keep + slices.Index(candidates, out)
}
