package spool

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"os"
	"runtime"
	"testing"

	"go.uber.org/goleak"
)

func TestMain(m *testing.M) {
	before := descriptors()
	code := m.Run()
	if code == 0 {
		if err := goleak.Find(); err != nil {
			fmt.Fprintln(os.Stderr, err)
			code = 1
		}
		if after := descriptors(); before >= 0 && after > before+4 { // the test binary's own may come and go
			fmt.Fprintln(os.Stderr, "descriptors are left open:", after-before)
			code = 1
		}
	}
	os.Exit(code)
}

// descriptors counts the files that this process has open; -1 where that can't be
// seen.
func descriptors() int {
	if runtime.GOOS != "linux" {
		return -1
	}
	names, err := os.ReadDir("/proc/self/fd")
	if err != nil {
		return -1
	}
	return len(names)
}

// source is a body of so many bytes that comes in pieces of random sizes.
type source struct {
	t      *testing.T
	data   []byte
	end    error
	pieces *rand.Rand
	late   bool // the end comes by itself, after the last bytes
	onRead func()
}

func newSource(t *testing.T, size int, seed uint64) *source {
	data := make([]byte, size)
	r := rand.New(rand.NewPCG(seed, 1))
	for i := range data {
		data[i] = byte(r.Uint32())
	}
	return &source{t: t, data: data, end: io.EOF, pieces: r, late: seed%2 == 0}
}

func (s *source) Read(p []byte) (int, error) {
	if s.onRead != nil {
		s.onRead()
	}
	if len(s.data) == 0 {
		return 0, s.end
	}
	n := min(1+s.pieces.IntN(40<<10), len(p), len(s.data))
	copy(p, s.data[:n])
	s.data = s.data[n:]
	if len(s.data) == 0 && !s.late {
		return n, s.end
	}
	return n, nil
}

// drain reads the body in pieces of random sizes.
func drain(body io.Reader, seed uint64) ([]byte, error) {
	r := rand.New(rand.NewPCG(seed, 2))
	var got bytes.Buffer
	buf := make([]byte, 64<<10)
	for {
		n, err := body.Read(buf[:1+r.IntN(len(buf))])
		got.Write(buf[:n])
		if err != nil {
			return got.Bytes(), err
		}
	}
}

// fullDisk is a Disk whose files take so many bytes each.
func fullDisk(t *testing.T, room int64) *Disk {
	d := NewDisk(t.TempDir(), 1<<30, nil)
	d.create = func(dir string) (file, error) {
		f, err := createUnlinked(dir)
		return &fullFile{file: f, room: room}, err
	}
	return d
}

type fullFile struct {
	file
	room int64
}

var errNoSpace = errors.New("no space left on device")

func (f *fullFile) WriteAt(p []byte, at int64) (int, error) {
	if at+int64(len(p)) > f.room {
		n, _ := f.file.WriteAt(p[:max(f.room-at, 0)], at)
		return n, errNoSpace
	}
	return f.file.WriteAt(p, at)
}
