package observe_test

import (
	"bytes"
	"errors"
	"fmt"
	"os"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/headgate/headgate/gateway/observe"
)

// disk takes so many bytes in all, and then says that it is full.
type disk struct {
	mu    sync.Mutex
	free  int
	piece int // the most that one write takes, without an error; 0: no such bound
	bytes.Buffer
	writes chan struct{} // receives when a write has come
}

func (d *disk) Write(p []byte) (int, error) {
	d.mu.Lock()
	defer d.mu.Unlock()
	defer func() {
		select {
		case d.writes <- struct{}{}:
		default:
		}
	}()
	n := min(len(p), d.free)
	if d.piece > 0 && n > d.piece {
		n = d.piece
	}
	d.free -= n
	d.Buffer.Write(p[:n])
	if n < len(p) && d.free == 0 {
		return n, syscall.ENOSPC
	}
	return n, nil
}

func (d *disk) setFree(n int) {
	d.mu.Lock()
	defer d.mu.Unlock()
	d.free = n
}

// losses is what a LogWriter says of lost lines.
type losses struct {
	mu    sync.Mutex
	lost  int
	told  int
	calls int
	why   error
	news  chan struct{} // receives when lines are lost
}

func newLosses() *losses { return &losses{news: make(chan struct{}, 1)} }

func (l *losses) writer(d *disk) *observe.LogWriter {
	return observe.NewLogWriter(d, func(lines int) {
		l.mu.Lock()
		l.lost += lines
		l.mu.Unlock()
		select {
		case l.news <- struct{}{}:
		default:
		}
	}, func(lines int, why error) {
		l.mu.Lock()
		defer l.mu.Unlock()
		l.told, l.calls, l.why = l.told+lines, l.calls+1, why
	})
}

func line(w *observe.LogWriter, n int) {
	w.Line(func(b []byte) []byte { return fmt.Appendf(b, "{\"line\":%04d}\n", n) })
}

// TestLinesThatADiskDoesNotTakeAreCounted: what is in the file and what is counted as lost
// are all that was logged, whatever the disk takes, be it half a line.
func TestLinesThatADiskDoesNotTakeAreCounted(t *testing.T) {
	t.Parallel()
	const lines, size = 1500, len("{\"line\":0000}\n")
	for _, free := range []int{0, 1, size - 1, size, 260*size + 5, lines*size - 1, lines * size} {
		d, l := &disk{free: free, writes: make(chan struct{}, 1)}, newLosses()
		w := l.writer(d)
		for i := range lines {
			line(w, i)
		}
		w.Close()
		whole := strings.Count(d.String(), "\n")
		if whole+l.lost != lines || l.lost != l.told {
			t.Errorf("%d bytes free: %d lines written, %d lost, %d of them told, of %d", free, whole, l.lost, l.told, lines)
		}
		if l.lost > 0 && !errors.Is(l.why, syscall.ENOSPC) {
			t.Errorf("%d bytes free: lost because of %v", free, l.why)
		}
	}
}

func TestADiskThatHasRoomAgainHoldsNoHalfLine(t *testing.T) {
	t.Parallel()
	const size = len("{\"line\":0000}\n")
	for _, piece := range []int{0, 3} {
		d, l := &disk{free: 2*size + 5, piece: piece, writes: make(chan struct{}, 1)}, newLosses()
		w := l.writer(d)
		for i := range 5 {
			line(w, i)
		}
		<-l.news // the disk is full, within the third line
		d.setFree(4)
		line(w, 5) // lost as well: there is room for a piece of the third line alone
		<-l.news
		d.setFree(100 * size)
		line(w, 6)
		w.Close()
		var got []string
		for s := range strings.Lines(d.String()) {
			got = append(got, strings.TrimSpace(s))
		}
		want := []string{`{"line":0000}`, `{"line":0001}`, `{"line":0002}`, `{"line":0006}`}
		if strings.Join(got, " ") != strings.Join(want, " ") || l.lost != 3 {
			t.Errorf("pieces of %d: the disk holds %q, and %d lines are lost", piece, got, l.lost)
		}
	}
}

func TestWritesThatTakeAPartLoseNothing(t *testing.T) {
	t.Parallel()
	d, l := &disk{free: 1 << 20, piece: 7, writes: make(chan struct{}, 1)}, newLosses()
	w := l.writer(d)
	for i := range 300 {
		line(w, i)
	}
	w.Close()
	if n := strings.Count(d.String(), "\n"); n != 300 || l.lost != 0 {
		t.Errorf("%d of 300 lines are written, %d lost", n, l.lost)
	}
}

func TestLostLinesAreToldOnceASecond(t *testing.T) {
	t.Parallel()
	full, err := os.OpenFile("/dev/full", os.O_WRONLY, 0)
	if err != nil {
		t.Skip("no /dev/full")
	}
	defer full.Close()
	news := make(chan struct{}, 1)
	var mu sync.Mutex
	lost, told, calls, start := 0, 0, 0, time.Now()
	w := observe.NewLogWriter(full, func(n int) {
		mu.Lock()
		lost += n
		mu.Unlock()
		news <- struct{}{}
	}, func(n int, _ error) {
		mu.Lock()
		defer mu.Unlock()
		told, calls = told+n, calls+1
	})
	for i := range 4 { // each in a write of its own
		line(w, i)
		<-news
	}
	w.Close()
	atMost := 2 + int(time.Since(start)/time.Second) // the first, the last, and one a second
	if lost != 4 || told != 4 || calls > atMost {
		t.Errorf("%d lines lost; %d told in %d calls", lost, told, calls)
	}
}

// Lines that come before Use go to where they went, those after it to the new place, whichever batch they are of.
func TestLinesGoWhereTheyWentWhenTheyCame(t *testing.T) {
	t.Parallel()
	var places [3]bytes.Buffer
	w := observe.NewLogWriter(&places[0], func(int) {}, func(int, error) {})
	line := func(s string) { w.Line(func(b []byte) []byte { return append(append(b, s...), '\n') }) }
	left := 0
	line("one")
	w.Use(&places[1], func() { left++ })
	line("two")
	w.Use(&places[2], nil)
	line("three")
	w.Close()
	if got := fmt.Sprintf("%q %q %q, left %d", places[0].String(), places[1].String(), places[2].String(), left); got != `"one\n" "two\n" "three\n", left 1` {
		t.Error(got)
	}
}
