package store

import (
	"errors"
	"testing"
	"time"
)

func TestABreakerThatOpensAgainIsProbedLater(t *testing.T) {
	var b breaker
	away := errors.New("away")
	for i := range breakerThreshold {
		if b.record(away) != (i == breakerThreshold-1) {
			t.Fatalf("failure %d", i+1)
		}
	}
	for i, want := range []time.Duration{50 * time.Millisecond, 100 * time.Millisecond, 200 * time.Millisecond} {
		if d := b.firstProbe(); d != want {
			t.Errorf("opening %d is probed after %v, want %v", i+1, d, want)
		}
		b.close()
		if !b.record(away) {
			t.Error("the first failure after a probe does not open it")
		}
	}
	for range 100 {
		b.close()
		b.record(away)
	}
	if d := b.firstProbe(); d != 10*time.Second {
		t.Errorf("at last it is probed after %v", d)
	}
	// A pipeline that was under way when it opened may still succeed.
	b.record(nil)
	if d := b.firstProbe(); d != 50*time.Millisecond {
		t.Errorf("with a success since, it is probed after %v", d)
	}
	b.close()
	b.record(nil)
	if b.record(away) {
		t.Error("one failure after a success opens it")
	}
}
