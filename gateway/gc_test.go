package main

import (
	"runtime"
	"testing"
	"time"
)

func TestSmallHeapsAreCollectedLessOften(t *testing.T) {
	for _, tt := range []struct {
		live uint64
		want int
	}{{0, 3200}, {4 << 20, 800}, {16 << 20, 200}, {32 << 20, 100}, {8 << 30, 100}} {
		if got := gcPercent(tt.live); got != tt.want {
			t.Errorf("%d MiB: %d %%, not %d", tt.live>>20, got, tt.want)
		}
	}
}

func TestEachCollectionIsNoticed(t *testing.T) {
	noticed := make(chan bool, 100)
	afterEachGC(func() { noticed <- true })
	for range 3 {
		select {
		case <-noticed:
			runtime.GC()
		case <-time.After(20 * time.Second):
			t.Fatal("a collection went unnoticed")
		}
	}
}
