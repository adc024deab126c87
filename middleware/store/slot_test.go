package store

import "testing"

// The values are CLUSTER KEYSLOT's.
func TestSlotsAreThoseOfRedis(t *testing.T) {
	for key, want := range map[string]int{
		"":                     0,
		"123456789":            12739,
		"foo":                  12182,
		"{user1000}.following": slotOf("user1000"),
		"foo{}{bar}":           8363,
		"foo{{bar}}zap":        slotOf("{bar"),
		"foo{bar}{zap}":        slotOf("bar"),
	} {
		if got := slotOf(key); got != want {
			t.Errorf("slot of %q is %d, want %d", key, got, want)
		}
	}
	for _, slot := range []int{0, 1, 5461, 16383} {
		if got := slotOf(keyIn(slot)); got != slot {
			t.Errorf("keyIn(%d) is in slot %d", slot, got)
		}
	}
}
