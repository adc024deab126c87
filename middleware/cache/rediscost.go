package cache

import (
	"errors"
	"time"

	"github.com/headgate/headgate/middleware/cache/internal/fleet"
)

// What keys take of Redis' memory, in bytes, as its used_memory counts them: a
// test compares the sums with it. Redis 7 and jemalloc are the measure.

const (
	// keyBytes is what every key with an expiry takes besides its name and its
	// value: an entry in two tables of keys, and an object.
	keyBytes = 32 + 32 + 24 + 16

	// hashBytes is what a hash takes besides its fields, the counter of changes
	// included, and fieldBytes a field besides its value.
	hashBytes  = 96 + 32 + 64
	fieldBytes = 32 + 48 + 16
)

// allocated is what jemalloc sets aside for n bytes and their header.
func allocated(n int64) int64 {
	n += 10
	if n <= 128 {
		return (n + 15) / 16 * 16
	}
	step := int64(32)
	for 8*step < n {
		step *= 2
	}
	return (n + step - 1) / step * step
}

// indexCost is what an index takes: its fields but "#", the bytes of their
// values together, and the length of its key.
func indexCost(fields, bytes int64, key int) int64 {
	if fields <= 0 {
		return 0
	}
	return keyBytes + allocated(int64(key)) + hashBytes + fields*(fieldBytes+allocated(bytes/fields))
}

// bodyCost is what the chunks of a body take. prefix is the length of their keys
// up to the body's name.
func bodyCost(size int64, prefix int) int64 {
	each := keyBytes + allocated(int64(prefix)+32+2)
	full, rest := size/redisChunk, size%redisChunk
	n := full * (each + allocated(redisChunk))
	if rest > 0 {
		n += each + allocated(rest)
	}
	return n
}

var errIndexReply = errors.New("cache: Redis has told of a changed index what cannot be read")

// indexChanges makes of what a script tells of an index (see indexPrologue) what
// has changed for the account: all that the index and the bodies took until
// their former expiry, they now take until the present one.
func indexChanges(told []int64, key, prefix int) (changes []fleet.Change, err error) {
	if len(told) == 0 {
		return nil, nil
	}
	if len(told) < 6 || len(told)%2 != 0 {
		return nil, errIndexReply
	}
	change := func(ms, bytes int64) {
		changes = append(changes, fleet.Change{Expires: time.Duration(ms) * time.Millisecond, Bytes: bytes})
	}
	index := func(told []int64, sign int64) {
		change(told[2], sign*indexCost(told[0]-1, told[1], key))
	}
	index(told, -1)
	bodies := told[3:]
	for len(bodies) >= 7 {
		size := (bodies[0]-1)*redisChunk + bodies[1]
		change(bodies[2], -bodyCost(size, prefix))
		change(bodies[3], bodyCost(size, prefix))
		bodies = bodies[4:]
	}
	if len(bodies) != 3 {
		return nil, errIndexReply
	}
	index(bodies, 1)
	return changes, nil
}
