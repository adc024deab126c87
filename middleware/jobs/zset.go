package jobs

import (
	"cmp"
	"slices"
)

// zset is Redis' sorted set in memory: members in the order of their scores. Among equal ones, which a clock of microseconds hardly ever gives but
// a test's does, Redis goes by the members' bytes, and the jobs that wait here by which was first. Adding behind all others
// and removing the first, which a queue does, costs no more the longer it is.
type zset struct{ entries []entry }

type entry struct {
	score  int64
	order  int64 // of the jobs, where it matters; else 0
	member string
}

func (e entry) compare(f entry) int {
	return cmp.Or(cmp.Compare(e.score, f.score), cmp.Compare(e.order, f.order), cmp.Compare(e.member, f.member))
}

// find returns where a member with this score is, or would be.
func (z *zset) find(score, order int64, member string) (int, bool) {
	return slices.BinarySearchFunc(z.entries, entry{score, order, member}, entry.compare)
}

// add adds a member that is not in the set.
func (z *zset) add(score, order int64, member string) {
	at, _ := z.find(score, order, member)
	z.entries = slices.Insert(z.entries, at, entry{score, order, member})
}

// remove removes a member, whose score the caller knows.
func (z *zset) remove(score, order int64, member string) {
	at, ok := z.find(score, order, member)
	switch {
	case !ok:
	case at == 0:
		z.entries[0] = entry{}
		z.entries = z.entries[1:]
	default:
		z.entries = slices.Delete(z.entries, at, at+1)
	}
}

// upTo is how many members have a score of at most this.
func (z *zset) upTo(score int64) int {
	at, _ := slices.BinarySearchFunc(z.entries, score, func(e entry, score int64) int {
		if e.score <= score {
			return -1
		}
		return 1
	})
	return at
}

// rank is how many members are before this one.
func (z *zset) rank(score, order int64, member string) int {
	at, _ := z.find(score, order, member)
	return at
}

func (z *zset) len() int { return len(z.entries) }
