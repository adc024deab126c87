package main

import (
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"runtime"
	"slices"
	"testing"
	"unsafe"
)

// asBallast in the environment makes the test binary a process that has a
// ballast and reports what it costs. The test's own process will not do: other
// tests move the collector's goal.
const asBallast = "HEADGATE_TEST_AS_BALLAST"

func TestBallastTakesNoMemoryAndMovesTheCollectorsGoal(t *testing.T) {
	t.Parallel()
	// Whether Go clears the memory differs from run to run: without release, one in eight took it all.
	for _, gogc := range append(slices.Repeat([]string{""}, 12), "100") {
		cmd := exec.Command(os.Args[0])
		cmd.Env = append(os.Environ(), asBallast+"=1", "GOGC="+gogc, "GOMEMLIMIT=")
		out, err := cmd.CombinedOutput()
		if err != nil {
			t.Fatalf("%v\n%s", err, out)
		}
		var size, resident, moved int64
		if _, err := fmt.Sscan(string(out), &size, &resident, &moved); err != nil {
			t.Fatalf("%v: %s", err, out)
		}
		switch {
		case gogc != "" && size != 0:
			t.Error("GOGC is set, and there is a ballast")
		case gogc != "":
		case size != ballastSize:
			t.Errorf("the ballast is of %d bytes", size)
		case resident > ballastSize/2:
			t.Errorf("%d MiB of it are in memory", resident>>20)
		case moved < ballastSize:
			t.Errorf("the collector's goal moved by %d MiB", moved>>20)
		}
	}
}

func TestResidentPartSeesWhatIsTouched(t *testing.T) {
	t.Parallel()
	if _, err := os.Stat("/proc/self/pagemap"); err != nil {
		t.Skip("this system does not tell which pages are in memory")
	}
	b := make([]byte, 1<<20)
	for i := range b {
		b[i] = 1
	}
	if n, err := residentPart(b); err != nil || n < 1<<19 {
		t.Errorf("%d bytes of 1 MiB, %v", n, err)
	}
}

// reportBallast prints the ballast's size, how much of it is in memory, and by
// how much it moves the goal of the garbage collector.
func reportBallast() {
	goal := func() int64 {
		runtime.GC()
		var m runtime.MemStats
		runtime.ReadMemStats(&m)
		return int64(m.NextGC)
	}
	before := goal()
	ballast := newBallast()
	after := goal()
	resident, err := residentPart(ballast)
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
	fmt.Println(len(ballast), resident, after-before)
	runtime.KeepAlive(ballast)
}

// residentPart returns how many bytes of b lie in pages that the system holds in
// memory; none where the system does not tell.
func residentPart(b []byte) (int64, error) {
	pages, err := os.Open("/proc/self/pagemap")
	if errors.Is(err, os.ErrNotExist) || len(b) == 0 {
		return 0, nil
	}
	if err != nil {
		return 0, err
	}
	defer pages.Close()
	size := os.Getpagesize()
	first := int64(uintptr(unsafe.Pointer(unsafe.SliceData(b)))) / int64(size)
	entries := make([]byte, len(b)/size*8)
	if _, err := pages.ReadAt(entries, first*8); err != nil && !errors.Is(err, io.EOF) {
		return 0, err
	}
	var resident int64
	for ; len(entries) > 0; entries = entries[8:] {
		if binary.LittleEndian.Uint64(entries)&(1<<63) != 0 { // present
			resident += int64(size)
		}
	}
	return resident, nil
}
