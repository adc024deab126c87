package spool

import (
	"bytes"
	"errors"
	"io"
	"os"
	"sync"
	"sync/atomic"
	"testing"
	"time"
)

// Whatever the bounds, and however the disk fails, a reader gets the source's
// bytes and then its end, and nothing is held afterwards or beyond the bounds.
func TestBytesAndTheirEnd(t *testing.T) {
	broken := errors.New("the client is gone")
	for name, bounds := range map[string]struct {
		memory   int64
		inMemory int64
		disk     func(t *testing.T) *Disk
	}{
		"memory":                  {1 << 30, 1 << 30, nil},
		"little memory":           {1 << 30, 100 << 10, nil},
		"an odd little memory":    {1 << 30, 5000, nil},
		"a few bytes of memory":   {1 << 30, 7, nil},
		"no read-ahead":           {1 << 30, 0, nil},
		"the gateway's is full":   {0, 1 << 20, nil},
		"memory and disk":         {1 << 30, 100 << 10, func(t *testing.T) *Disk { return NewDisk(t.TempDir(), 1<<30, nil) }},
		"only disk":               {0, 1 << 20, func(t *testing.T) *Disk { return NewDisk(t.TempDir(), 1<<30, nil) }},
		"a small disk":            {1 << 30, 64 << 10, func(t *testing.T) *Disk { return NewDisk(t.TempDir(), 2*blockSize, nil) }},
		"no folder":               {1 << 30, 64 << 10, func(t *testing.T) *Disk { return NewDisk(t.TempDir()+"/missing", 1<<30, nil) }},
		"a full disk":             {1 << 30, 64 << 10, func(t *testing.T) *Disk { return fullDisk(t, 300<<10) }},
		"a disk that is full now": {1 << 30, 64 << 10, func(t *testing.T) *Disk { return fullDisk(t, 0) }},
	} {
		t.Run(name, func(t *testing.T) {
			for seed := range uint64(24) {
				size := []int{0, 1, 300, 4096, 4097, 32 << 10, 100 << 10, 1500 << 10}[seed%8]
				memory := NewMemory(bounds.memory)
				o := Options{Memory: memory, InMemory: bounds.inMemory, Length: -1, WhenSlow: seed%3 != 0}
				if bounds.disk != nil {
					o.Disk = bounds.disk(t)
				}
				src := newSource(t, size, seed)
				want := bytes.Clone(src.data)
				if seed >= 8 {
					o.Length = int64(size)
				}
				if seed >= 16 {
					src.end = broken
				}
				var ends atomic.Int32
				o.Ended = func(error) { ends.Add(1) }
				body := NewBody(src, o)
				body.patience, body.credit = 0, 0 // every reader is slow
				src.onRead = func() {
					if used := memory.Used(); used > bounds.memory {
						t.Errorf("%d bytes of memory are in use", used)
					}
				}
				if seed%3 == 0 {
					if err := body.Fill(); err != nil && err != src.end {
						t.Fatal(err)
					}
				}
				got, err := drain(body, seed)
				if !bytes.Equal(got, want) || err != src.end {
					t.Fatalf("seed %d: got %d bytes of %d and %v", seed, len(got), len(want), err)
				}
				body.Close()
				if memory.Used() != 0 || o.Disk != nil && o.Disk.Used() != 0 || ends.Load() != 1 {
					t.Fatalf("seed %d: %d bytes of memory are in use, the source has ended %d times", seed, memory.Used(), ends.Load())
				}
			}
		})
	}
}

// Fill reads as much as there is room for, and no more.
func TestFillStopsAtItsBounds(t *testing.T) {
	for name, c := range map[string]struct {
		disk int64
		want int
	}{
		"memory":          {0, 64 << 10},
		"memory and disk": {4 * blockSize, 64<<10 + 4*blockSize},
	} {
		t.Run(name, func(t *testing.T) {
			src := newSource(t, 4<<20, 2)
			o := Options{Memory: NewMemory(1 << 30), InMemory: 64 << 10, Length: 4 << 20}
			if c.disk > 0 {
				o.Disk = NewDisk(t.TempDir(), c.disk, nil)
			}
			body := NewBody(src, o)
			defer body.Close()
			if err := body.Fill(); err != nil {
				t.Fatal(err)
			}
			if got := 4<<20 - len(src.data); got != c.want {
				t.Errorf("%d bytes were read ahead, not %d", got, c.want)
			}
			if used := o.Memory.Used(); used > 64<<10 {
				t.Errorf("%d bytes of memory are in use", used)
			}
		})
	}
}

// A slow reader's source is read to its end, and only then.
func TestReadsAheadOfASlowReader(t *testing.T) {
	src := newSource(t, 3<<20, 1)
	ended := make(chan error, 1)
	body := NewBody(src, Options{Memory: NewMemory(1 << 30), InMemory: 1 << 20, Length: -1, WhenSlow: true,
		Disk: NewDisk(t.TempDir(), 1<<30, nil), Ended: func(err error) { ended <- err }})
	defer body.Close()
	buf := make([]byte, 10)
	if _, err := io.ReadFull(body, buf); err != nil {
		t.Fatal(err)
	}
	if err := <-ended; err != io.EOF { // while the reader takes nothing
		t.Fatal(err)
	}
	rest, err := io.ReadAll(body)
	if err != nil || len(rest) != 3<<20-10 {
		t.Fatal(len(rest), err)
	}
}

// A reader that is fast gets the bytes on its own goroutine.
func TestStreamsToAFastReader(t *testing.T) {
	src := newSource(t, 3<<20, 1)
	memory := NewMemory(1 << 30)
	src.onRead = func() {
		if memory.Used() > 0 {
			t.Error("the body is read ahead")
		}
	}
	body := NewBody(src, Options{Memory: memory, InMemory: 1 << 20, Length: -1, WhenSlow: true})
	body.patience, body.credit = time.Hour, time.Hour
	defer body.Close()
	if n, err := io.Copy(io.Discard, body); n != 3<<20 || err != nil {
		t.Fatal(n, err)
	}
}

// What the reader has taken makes room: the file grows no larger than what is unread.
func TestFileIsWrittenAgain(t *testing.T) {
	src := newSource(t, 8<<20, 3)
	disk := NewDisk(t.TempDir(), 4*blockSize, nil)
	body := NewBody(src, Options{Memory: NewMemory(1 << 30), InMemory: 64 << 10, Length: -1, Disk: disk})
	defer body.Close()
	want := bytes.Clone(src.data)
	var got []byte
	buf := make([]byte, 100<<10)
	for {
		if err := body.Fill(); err != nil {
			t.Fatal(err)
		}
		n, err := body.Read(buf)
		got = append(got, buf[:n]...)
		if disk.Used() > 4*blockSize {
			t.Fatal(disk.Used())
		}
		if err == io.EOF {
			break
		}
		if err != nil {
			t.Fatal(err)
		}
	}
	if !bytes.Equal(got, want) {
		t.Errorf("%d bytes of %d, or others", len(got), len(want))
	}
}

// A file has no name and no other reader, and is gone with its body.
func TestFilesHaveNoName(t *testing.T) {
	dir := t.TempDir()
	disk := NewDisk(dir, 1<<30, nil)
	var made []*os.File
	disk.create = func(dir string) (file, error) {
		f, err := createUnlinked(dir)
		made = append(made, f.(*os.File))
		return f, err
	}
	body := NewBody(newSource(t, 1<<20, 1), Options{Memory: NewMemory(1 << 30), InMemory: 64 << 10, Length: -1, Disk: disk})
	if err := body.Fill(); err != nil {
		t.Fatal(err)
	}
	if names, err := os.ReadDir(dir); len(names) > 0 || err != nil {
		t.Error(names, err)
	}
	if len(made) != 1 {
		t.Fatal(len(made))
	}
	info, err := made[0].Stat()
	if err != nil || info.Mode() != 0o600 || info.Size() < 900<<10 {
		t.Error(info, err)
	}
	body.Close()
	if _, err := made[0].Stat(); !errors.Is(err, os.ErrClosed) {
		t.Error("the file is still open:", err)
	}
	if disk.Used() != 0 {
		t.Error(disk.Used())
	}
}

// An operator learns why bodies do not go to the disk.
func TestFailuresAreReported(t *testing.T) {
	var got error
	disk := NewDisk(t.TempDir()+"/missing", 1<<30, func(err error) { got = err })
	body := NewBody(newSource(t, 1<<20, 1), Options{Memory: NewMemory(1 << 30), InMemory: 64 << 10, Length: -1, Disk: disk})
	defer body.Close()
	if err := body.Fill(); err != nil || !errors.Is(got, os.ErrNotExist) {
		t.Error(err, got)
	}
}

// blocking is a source whose reads wait until they are interrupted.
type blocking struct {
	reads       chan struct{} // a read has begun
	interrupted chan struct{}
}

func (s *blocking) Read(p []byte) (int, error) {
	s.reads <- struct{}{}
	<-s.interrupted
	return 0, io.ErrUnexpectedEOF
}

// Close ends what is under way: a read of the source ahead, and the reader that
// waits for it.
func TestCloseEndsBothSides(t *testing.T) {
	memory := NewMemory(1 << 30)
	src := &blocking{reads: make(chan struct{}, 1), interrupted: make(chan struct{})}
	body := NewBody(src, Options{Memory: memory, InMemory: 1 << 20, Length: -1,
		Interrupt: func() { close(src.interrupted) }})
	filled := make(chan error, 1)
	go func() { filled <- body.Fill() }()
	<-src.reads
	if memory.Used() == 0 {
		t.Error("nothing is read into memory")
	}
	read := make(chan error, 1)
	go func() {
		_, err := body.Read(make([]byte, 1))
		read <- err
	}()
	body.Close()
	if err := <-filled; err != ErrClosed {
		t.Error(err)
	}
	if err := <-read; err != ErrClosed {
		t.Error(err)
	}
	if memory.Used() != 0 {
		t.Error(memory.Used())
	}
}

// Many bodies at once keep to the bounds that they share, and to 4 KiB each
// beyond them, and all of them get through.
func TestManyBodiesShareTheBounds(t *testing.T) {
	const bodies, size, limit = 200, 300 << 10, 1 << 20
	memory, disk := NewMemory(limit), NewDisk(t.TempDir(), 20*blockSize, nil)
	var group sync.WaitGroup
	for i := range bodies {
		group.Go(func() {
			src := newSource(t, size, uint64(i))
			src.onRead = func() {
				if m, d := memory.Used(), disk.Used(); m > limit || d > 20*blockSize {
					t.Errorf("%d bytes of memory, %d of disk are in use", m, d)
				}
			}
			want := bytes.Clone(src.data)
			body := NewBody(src, Options{Memory: memory, Disk: disk, InMemory: 64 << 10, Length: -1, WhenSlow: i%2 == 0})
			body.patience, body.credit = 0, 0
			defer body.Close()
			if i%2 == 1 {
				if err := body.Fill(); err != nil {
					t.Error(err)
				}
			}
			if i%10 == 0 { // this reader leaves
				_, _ = body.Read(make([]byte, 10))
				return
			}
			if got, err := drain(body, uint64(i)); err != io.EOF || !bytes.Equal(got, want) {
				t.Errorf("body %d: %d bytes of %d, %v", i, len(got), size, err)
			}
		})
	}
	group.Wait()
	if memory.Used() != 0 || disk.Used() != 0 {
		t.Error(memory.Used(), disk.Used())
	}
}

// A body that was moved to a file and can't be read back breaks off.
func TestUnreadableFileBreaksTheBody(t *testing.T) {
	disk := NewDisk(t.TempDir(), 1<<30, nil)
	disk.create = func(dir string) (file, error) {
		f, err := createUnlinked(dir)
		return unreadable{f}, err
	}
	memory := NewMemory(1 << 30)
	body := NewBody(newSource(t, 1<<20, 1), Options{Memory: memory, InMemory: 64 << 10, Length: -1, Disk: disk})
	if err := body.Fill(); err != nil {
		t.Fatal(err)
	}
	if _, err := io.Copy(io.Discard, body); !errors.Is(err, errNoSpace) {
		t.Error(err)
	}
	if memory.Used() != 0 || disk.Used() != 0 {
		t.Error(memory.Used(), disk.Used())
	}
	body.Close()
}

type unreadable struct{ file }

func (unreadable) ReadAt([]byte, int64) (int, error) { return 0, errNoSpace }

func BenchmarkFillAndRead(b *testing.B) {
	memory := NewMemory(1 << 30)
	data := make([]byte, 10<<10)
	buf := make([]byte, 32<<10)
	b.ReportAllocs()
	for b.Loop() {
		body := NewBody(bytes.NewReader(data), Options{Memory: memory, InMemory: 1 << 20, Length: int64(len(data))})
		_ = body.Fill()
		for {
			if _, err := body.Read(buf); err != nil {
				break
			}
		}
		body.Close()
	}
}
