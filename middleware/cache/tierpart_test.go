package cache

import (
	"crypto/sha256"
	"fmt"
	"net/http"
	"runtime"
	"testing"
	"time"

	"github.com/headgate/headgate/middleware/cache/internal/rfc9111"
)

// store puts a response of so many bytes into a rule's part.
func (t *localTier) store(rule, key string, size int) {
	header := http.Header{
		"Content-Type": {"text/html; charset=utf-8"}, "Cache-Control": {"max-age=3600"}, "Etag": {fmt.Sprintf("%q", key)},
		"Date": {time.Now().UTC().Format(http.TimeFormat)}, "Content-Length": {fmt.Sprint(size)},
	}
	t.put(rule, keyHash(sha256.Sum256([]byte(rule+key))), &entry{
		Response: rfc9111.Response{Received: time.Now(), Lifetime: time.Hour, Header: header, Status: 200},
		keyText:  key, tags: make([]tag, 4), body: body{chunks: [][]byte{make([]byte, size)}, size: int64(size)},
	})
}

func (t *localTier) has(rule, key string) bool {
	return t.get(rule, keyHash(sha256.Sum256([]byte(rule+key))), []byte(key)) != nil
}

// What one rule stores pushes out nothing of another that takes its share at most, and takes what others leave.
func TestARuleDoesNotPushOutWhatAnotherHasStored(t *testing.T) {
	t.Parallel()
	const limit = 4 << 20
	tier := newLocalTier(limit, time.Now, func(int64) {})
	defer tier.close()
	flood := func(from, to int) {
		for i := range to - from {
			tier.store("flood", fmt.Sprintf("/search?%d", from+i), 4000)
		}
	}
	flood(0, 3000)
	if _, bytes := tier.size(); bytes > limit || bytes < limit*9/10 {
		t.Errorf("a rule alone takes %d bytes of %d", bytes, limit)
	}
	for i := range 300 {
		tier.store("pages", fmt.Sprintf("/page/%d", i), 4000)
	}
	flood(3000, 6000)
	kept := 0
	for i := range 300 {
		if tier.has("pages", fmt.Sprintf("/page/%d", i)) {
			kept++
		}
	}
	if kept < 300 {
		t.Errorf("%d of 300 pages are kept, which take less than their rule's share", kept)
	}
	if _, bytes := tier.size(); bytes > limit || bytes < limit*8/10 {
		t.Errorf("two rules take %d bytes of %d", bytes, limit)
	}
}

func TestTheLocalTiersLimitChanges(t *testing.T) {
	t.Parallel()
	tier := newLocalTier(4<<20, time.Now, func(int64) {})
	defer tier.close()
	fill := func() {
		for i := range 3000 {
			tier.store(fmt.Sprint("rule", i%3), fmt.Sprint(i), 4000)
		}
	}
	fill()
	tier.setLimit(1 << 20)
	if _, bytes := tier.size(); bytes > 1<<20 || bytes < 1<<19 {
		t.Errorf("%d bytes after the limit became %d", bytes, 1<<20)
	}
	tier.setLimit(4 << 20)
	fill()
	if _, bytes := tier.size(); bytes > 4<<20 || bytes < 3<<20 {
		t.Errorf("%d bytes after the limit became %d again", bytes, 4<<20)
	}
}

// What the tier says it takes is what it takes of the heap, for small entries, too.
func TestTheLocalTiersBytesAreThoseOfTheHeap(t *testing.T) { // not parallel, for that
	for _, size := range []int{10, 1000, 100_000} {
		const limit = 32 << 20
		before := heap()
		tier := newLocalTier(limit, time.Now, func(int64) {})
		for i := range limit / (size + 500) {
			tier.store("rule", fmt.Sprint(i), size)
		}
		_, bytes := tier.size()
		taken := heap() - before
		if taken > bytes*5/4 || taken < bytes/2 {
			t.Errorf("entries of %d bytes: the tier says that it takes %d bytes, the heap has grown by %d", size, bytes, taken)
		}
		tier.close()
		runtime.KeepAlive(tier)
	}
}

func heap() int64 {
	var m runtime.MemStats
	runtime.GC()
	runtime.GC()
	runtime.ReadMemStats(&m)
	return int64(m.HeapAlloc)
}
