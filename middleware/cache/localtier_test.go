package cache

import (
	"crypto/sha256"
	"testing"
	"time"

	"github.com/headgate/headgate/middleware/cache/internal/rfc9111"
)

// A hash is never trusted alone: two keys of one hash do not answer for each
// other, nor does what is stored for one keep what is stored for the other.
func TestLocalTierComparesTheTextOfTheKey(t *testing.T) {
	t.Parallel()
	tier := newLocalTier(1<<20, time.Now, func(int64) {})
	defer tier.close()
	hash := keyHash(sha256.Sum256([]byte("collision")))
	mine := &entry{Response: rfc9111.Response{Received: time.Now(), Lifetime: time.Minute}, keyText: "mine"}
	tier.put("rule", hash, mine)
	if r := tier.get("rule", hash, []byte("mine")); r == nil || r.variants[0] != mine {
		t.Fatal("not stored")
	}
	if tier.get("rule", hash, []byte("other's")) != nil {
		t.Error("a key of the same hash was answered")
	}
	tier.put("rule", hash, &entry{Response: rfc9111.Response{Received: time.Now(), Lifetime: time.Minute}, keyText: "other's"})
	if r := tier.get("rule", hash, []byte("other's")); r == nil || len(r.variants) != 1 {
		t.Errorf("%+v", r)
	}
}
