package filestate

import (
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"strings"
	"sync"
	"syscall"
	"time"
)

// MaxBytes is the most that Read reads of a file.
const MaxBytes = 16 << 20

// patience is how long the file system may take, which for a mount that has gone may
// be for ever. A variable for tests.
var patience = 5 * time.Second

// Read reads a regular file, as os.ReadFile does, but waits for no one: a named pipe is
// an error at once, a file system that does not answer one after five seconds, and a
// file of more than MaxBytes one, too. A pipe that is open already, as a shell passes
// by /dev/stdin or /dev/fd/3, is read to its end within that time.
func Read(name string) ([]byte, error) {
	return within("read", name, func() ([]byte, error) {
		f, err := os.OpenFile(name, os.O_RDONLY|syscall.O_NONBLOCK, 0) // which does not wait for a pipe's writer
		if err != nil {
			return nil, err
		}
		defer f.Close()
		info, err := f.Stat()
		if err != nil {
			return nil, err
		}
		if kind := kindOf(info.Mode()); kind != "" && !strings.HasPrefix(name, "/dev/") {
			return nil, &fs.PathError{Op: "read", Path: name, Err: fmt.Errorf("it is %s, and not a regular file", kind)}
		}
		tooLarge := &fs.PathError{Op: "read", Path: name, Err: fmt.Errorf("it has more than %d MiB", MaxBytes>>20)}
		if info.Mode().IsRegular() && info.Size() > MaxBytes {
			return nil, tooLarge
		}
		data, err := io.ReadAll(io.LimitReader(f, MaxBytes+1))
		if err != nil {
			return nil, err
		}
		if len(data) > MaxBytes {
			return nil, tooLarge
		}
		return data, nil
	})
}

// kindOf says what can't be read to its end, or not twice; "" for a file, and for a
// folder, of which the system says so itself.
func kindOf(mode os.FileMode) string {
	switch {
	case mode&os.ModeNamedPipe != 0:
		return "a named pipe"
	case mode&os.ModeSocket != 0:
		return "a socket"
	case mode&os.ModeDevice != 0:
		return "a device"
	}
	return ""
}

// stat is os.Stat, as patient as Read.
func stat(name string) (os.FileInfo, error) {
	return within("stat", name, func() (os.FileInfo, error) { return os.Stat(name) })
}

// errSilent is what a hung mount comes to.
var errSilent = errors.New("the file system does not answer")

// hung names the calls that the file system has left unanswered. They can't be ended,
// so the same is not asked again until it is answered: asking every second leaves one
// goroutine, and not one for each second.
var hung = struct {
	mu sync.Mutex
	by map[[2]string]bool
}{by: map[[2]string]bool{}}

// within calls do and returns its results, or errSilent where it takes too long.
func within[T any](op, name string, do func() (T, error)) (value T, err error) {
	key := [2]string{op, name}
	silent := &fs.PathError{Op: op, Path: name, Err: errSilent}
	hung.mu.Lock()
	waiting := hung.by[key]
	hung.mu.Unlock()
	if waiting {
		return value, silent
	}

	var result T
	var failure error
	done := make(chan struct{})
	go func() {
		result, failure = do()
		hung.mu.Lock()
		defer hung.mu.Unlock()
		delete(hung.by, key)
		close(done)
	}()
	timer := time.NewTimer(patience)
	defer timer.Stop()
	select {
	case <-done:
		return result, failure
	case <-timer.C:
	}
	hung.mu.Lock()
	defer hung.mu.Unlock()
	select {
	case <-done:
		return result, failure
	default:
		hung.by[key] = true
		return value, silent
	}
}
