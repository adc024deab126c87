package main

import (
	"os"
	"runtime"
	"strconv"
	"strings"
	"testing"
)

func TestBallastTakesNoMemoryAndMovesTheCollectorsGoal(t *testing.T) {
	resident := func() int64 {
		text, err := os.ReadFile("/proc/self/statm")
		if err != nil {
			t.Skip("this system has no /proc")
		}
		pages, err := strconv.ParseInt(strings.Fields(string(text))[1], 10, 64)
		if err != nil {
			t.Fatal(err)
		}
		return pages * int64(os.Getpagesize())
	}
	goal := func() uint64 {
		runtime.GC()
		var m runtime.MemStats
		runtime.ReadMemStats(&m)
		return m.NextGC
	}
	t.Setenv("GOGC", "")
	t.Setenv("GOMEMLIMIT", "")
	before, memory := goal(), resident()
	ballast := newBallast()
	after := goal()
	if grown := resident() - memory; grown > ballastSize/2 {
		t.Errorf("it takes %d MiB", grown>>20)
	}
	if after < before+ballastSize {
		t.Errorf("the collector's goal was %d MiB, and is %d", before>>20, after>>20)
	}
	runtime.KeepAlive(ballast)
	t.Setenv("GOGC", "100")
	if newBallast() != nil {
		t.Error("GOGC is set, and there is a ballast")
	}
}
