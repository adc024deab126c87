package spool

import (
	"io"
	"os"
)

// Disk is what the bodies of one upstream may take of a file system, together.
// It is safe for concurrent use.
type Disk struct {
	budget
	dir    string
	failed func(error)
	create func(dir string) (file, error)
}

// file is the part of an *os.File that a body needs.
type file interface {
	io.ReaderAt
	io.WriterAt
	io.Closer
}

// NewDisk returns a Disk of so many bytes in the folder, by default the
// system's temporary folder. failed, which may be nil, is told of each file that
// could not be made or written; the body streams then. It is called
// concurrently, and must not block.
func NewDisk(dir string, limit int64, failed func(error)) *Disk {
	if dir == "" {
		dir = os.TempDir()
	}
	if failed == nil {
		failed = func(error) {}
	}
	d := &Disk{dir: dir, failed: failed, create: createUnlinked}
	d.SetLimit(limit)
	return d
}

// createUnlinked makes a file of mode 0600 and removes its name.
func createUnlinked(dir string) (file, error) {
	f, err := os.CreateTemp(dir, "headgate-body-*") // with O_EXCL and mode 0600
	if err != nil {
		return nil, err
	}
	if err := os.Remove(f.Name()); err != nil {
		f.Close()
		_ = os.Remove(f.Name()) // a system that keeps the names of open files: the file is empty
		return nil, err
	}
	return f, nil
}
