package observe

import (
	"errors"
	"io/fs"
	"os"
	"sync"
	"time"
)

// logLookEvery is how often a LogFile looks whether its file was renamed.
const logLookEvery = time.Second

// LogFile appends to a file of a name. When the file was renamed or removed, as a rotation does, the name is opened
// anew: on Reopen at once, and otherwise with the first write a second later. A name that can't be opened leaves the file that
// is open in use. It is safe for concurrent use.
type LogFile struct {
	path string
	tell func(err error) // may be nil

	mu      sync.Mutex
	file    *os.File
	looked  time.Time
	failing bool // tell was told
	within  bool // the file ends within a line, which is completed before the name is opened again
	due     bool // Reopen was called meanwhile
}

// OpenLogFile opens a file for appending, and makes it where there is none. tell is called when the name can't be opened again.
func OpenLogFile(path string, tell func(err error)) (*LogFile, error) {
	file, err := openToAppend(path)
	if err != nil {
		return nil, err
	}
	return &LogFile{path: path, tell: tell, file: file, looked: time.Now()}, nil
}

func openToAppend(path string) (*os.File, error) {
	return os.OpenFile(path, os.O_CREATE|os.O_WRONLY|os.O_APPEND, 0o640)
}

// Write appends to the file of the name.
func (f *LogFile) Write(p []byte) (int, error) {
	f.mu.Lock()
	defer f.mu.Unlock()
	if !f.within {
		f.follow()
	}
	n, err := f.file.Write(p)
	if n > 0 {
		f.within = p[n-1] != '\n'
	}
	return n, err
}

// follow opens the name again if that is due.
func (f *LogFile) follow() {
	now := time.Now()
	if !f.due && now.Sub(f.looked) < logLookEvery {
		return
	}
	f.looked = now
	if f.due || !f.current() {
		_ = f.reopen() // it has told
	}
}

// current reports whether the open file is the one of the name.
func (f *LogFile) current() bool {
	named, err := os.Stat(f.path)
	if err != nil {
		return !errors.Is(err, fs.ErrNotExist)
	}
	open, err := f.file.Stat()
	return err == nil && os.SameFile(named, open)
}

// Reopen opens the name anew. When it returns without an error, nothing is written any more to the file that was open before, but for
// the rest of a line that a full disk has cut off.
func (f *LogFile) Reopen() error {
	f.mu.Lock()
	defer f.mu.Unlock()
	if f.due = f.within; f.due {
		return nil
	}
	return f.reopen()
}

func (f *LogFile) reopen() error {
	f.due = false
	file, err := openToAppend(f.path)
	if err != nil {
		if !f.failing && f.tell != nil {
			f.tell(err)
		}
		f.failing = true
		return err
	}
	f.failing = false
	_ = f.file.Close()
	f.file = file
	return nil
}

// Close closes the file.
func (f *LogFile) Close() error {
	f.mu.Lock()
	defer f.mu.Unlock()
	return f.file.Close()
}
