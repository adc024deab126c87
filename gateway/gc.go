package main

import (
	"os"
	"runtime"
	"runtime/debug"
	"runtime/metrics"
)

// heapFloor is how much garbage may gather before the collector runs, however
// little of the heap is in use.
const heapFloor = 32 << 20

// tuneGC has the garbage collector run less often than Go's default while the
// heap is small. By default it runs whenever the heap has doubled: of the few
// MiB that most gateways use, that is dozens of times a second under load, and a fifth of a
// small request's CPU. A large heap (a large cache) is collected as usual. Who has set GOGC or
// GOMEMLIMIT knows better.
func tuneGC() {
	if os.Getenv("GOGC") != "" || os.Getenv("GOMEMLIMIT") != "" {
		return
	}
	live := []metrics.Sample{{Name: "/gc/heap/live:bytes"}}
	percent := 100
	afterEachGC(func() {
		metrics.Read(live)
		want := gcPercent(live[0].Value.Uint64())
		if want*4 < percent*3 || percent*4 < want*3 { // setting it stops the world for a moment
			percent = want
			debug.SetGCPercent(percent)
		}
	})
}

// gcPercent is the GOGC with which as much garbage as heapFloor gathers, and
// never less than Go's default.
func gcPercent(live uint64) int {
	return max(100, int(heapFloor*100/max(live, 1<<20)))
}

// afterEachGC calls f now, and on the finalizers' goroutine after each collection.
func afterEachGC(f func()) {
	type sentinel struct{ _ *byte }
	var again func(*sentinel)
	again = func(s *sentinel) {
		f()
		runtime.SetFinalizer(s, again)
	}
	again(new(sentinel))
}
