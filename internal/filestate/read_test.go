package filestate

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"sync/atomic"
	"syscall"
	"testing"
	"time"
)

func TestOnlyFilesAreRead(t *testing.T) {
	dir := t.TempDir()
	file, link, pipe := filepath.Join(dir, "file"), filepath.Join(dir, "link"), filepath.Join(dir, "pipe")
	if err := os.WriteFile(file, []byte("text"), 0o600); err != nil {
		t.Fatal(err)
	}
	if err := os.Symlink("file", link); err != nil {
		t.Fatal(err)
	}
	if err := syscall.Mkfifo(pipe, 0o600); err != nil {
		t.Fatal(err)
	}
	for _, name := range []string{file, link} {
		if text, err := Read(name); string(text) != "text" || err != nil {
			t.Errorf("%s: %q, %v", name, text, err)
		}
	}
	if _, err := Read(filepath.Join(dir, "none")); !errors.Is(err, os.ErrNotExist) {
		t.Errorf("none: %v", err)
	}
	for name, why := range map[string]string{pipe: "a named pipe", dir: "is a directory"} {
		if text, err := Read(name); text != nil || err == nil || !strings.Contains(err.Error(), why) {
			t.Errorf("%s: %q, %v", name, text, err)
		}
	}
	large := filepath.Join(dir, "large")
	if err := os.WriteFile(large, nil, 0o600); err != nil {
		t.Fatal(err)
	}
	if err := os.Truncate(large, MaxBytes+1); err != nil {
		t.Fatal(err)
	}
	if _, err := Read(large); err == nil {
		t.Error("a file that is too large was read")
	}
}

func TestAPipeThatTheShellHasOpenedIsRead(t *testing.T) {
	r, w, err := os.Pipe()
	if err != nil {
		t.Fatal(err)
	}
	defer r.Close()
	if _, err := w.WriteString("text"); err != nil {
		t.Fatal(err)
	}
	w.Close()
	if _, err := os.Stat("/dev/fd"); err != nil {
		t.Skip("this system has no /dev/fd")
	}
	if text, err := Read(fmt.Sprintf("/dev/fd/%d", r.Fd())); string(text) != "text" || err != nil {
		t.Errorf("%q, %v", text, err)
	}
}

// A file system that does not answer costs its patience once, and then nothing until it does.
func TestASilentFileSystemIsNotWaitedFor(t *testing.T) {
	defer func(before time.Duration) { patience = before }(patience)
	patience = time.Millisecond
	var asked atomic.Int64
	answer := make(chan struct{})
	ask := func() (int, error) {
		return within("read", "silent", func() (int, error) {
			asked.Add(1)
			<-answer
			return 7, nil
		})
	}
	for range 3 {
		if _, err := ask(); !errors.Is(err, errSilent) {
			t.Fatalf("%v", err)
		}
	}
	if n := asked.Load(); n != 1 {
		t.Errorf("it was asked %d times", n)
	}
	close(answer)
	patience = time.Minute
	for {
		n, err := ask()
		if err == nil {
			if n != 7 {
				t.Errorf("%d", n)
			}
			return
		}
		time.Sleep(time.Millisecond)
	}
}
