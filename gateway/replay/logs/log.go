package logs

import (
	"fmt"
	"io"
	"os"
)

// Log is one access log, plain or compressed with gzip or zstd.
type Log struct {
	// Name is what reports and errors call the log.
	Name string
	// Open returns the log's bytes and their number, 0 where it is not known. If Open returns a reader along
	// with an error, [NewReader] closes it.
	Open func() (r io.ReadCloser, size int64, err error)
}

// File is the log in a file; "-" is standard input.
func File(name string) Log {
	if name == "-" {
		return Log{Name: "stdin", Open: func() (io.ReadCloser, int64, error) { return io.NopCloser(os.Stdin), 0, nil }}
	}
	return Log{Name: name, Open: func() (io.ReadCloser, int64, error) {
		f, err := os.Open(name)
		if err != nil {
			return nil, 0, err
		}
		info, err := f.Stat()
		if err != nil || !info.Mode().IsRegular() {
			if err == nil && info.IsDir() {
				err = fmt.Errorf("%s is a directory; name the log files in it", name)
			}
			return f, 0, err
		}
		return f, info.Size(), nil
	}}
}
