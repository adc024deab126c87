package observe_test

import (
	"os"
	"path/filepath"
	"testing"
	"time"

	"github.com/headgate/headgate/gateway/observe"
)

func openLog(t *testing.T, path string, tell func(error)) *observe.LogFile {
	t.Helper()
	f, err := observe.OpenLogFile(path, tell)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = f.Close() })
	return f
}

func write(t *testing.T, f *observe.LogFile, text string) {
	t.Helper()
	if _, err := f.Write([]byte(text)); err != nil {
		t.Fatal(err)
	}
}

func holds(t *testing.T, path, want string) {
	t.Helper()
	if text, err := os.ReadFile(path); err != nil || string(text) != want {
		t.Errorf("%s holds %q, want %q (%v)", filepath.Base(path), text, want, err)
	}
}

func TestARenamedLogIsOpenedAnew(t *testing.T) {
	t.Parallel()
	path := filepath.Join(t.TempDir(), "access.log")
	f := openLog(t, path, nil)
	write(t, f, "one\n")
	if err := os.Rename(path, path+".1"); err != nil {
		t.Fatal(err)
	}
	if err := f.Reopen(); err != nil {
		t.Fatal(err)
	}
	holds(t, path, "")
	write(t, f, "two\n")
	holds(t, path+".1", "one\n")
	holds(t, path, "two\n")
}

func TestALineThatWasCutOffIsCompletedInItsFile(t *testing.T) {
	t.Parallel()
	path := filepath.Join(t.TempDir(), "access.log")
	f := openLog(t, path, nil)
	write(t, f, "one\ntw")
	if err := os.Rename(path, path+".1"); err != nil {
		t.Fatal(err)
	}
	if err := f.Reopen(); err != nil {
		t.Fatal(err)
	}
	write(t, f, "o\n")
	write(t, f, "three\n")
	holds(t, path+".1", "one\ntwo\n")
	holds(t, path, "three\n")
}

func TestARenamedLogIsFoundWithoutASignal(t *testing.T) {
	t.Parallel()
	path := filepath.Join(t.TempDir(), "access.log")
	f := openLog(t, path, nil)
	if err := os.Rename(path, path+".1"); err != nil {
		t.Fatal(err)
	}
	for end := time.Now().Add(time.Minute); ; time.Sleep(10 * time.Millisecond) {
		write(t, f, "line\n")
		if _, err := os.Stat(path); err == nil {
			return
		}
		if time.Now().After(end) {
			t.Fatal("the file of the name was not made anew")
		}
	}
}

func TestALogWhoseNameCannotBeOpenedGoesOn(t *testing.T) {
	t.Parallel()
	folder := filepath.Join(t.TempDir(), "logs")
	if err := os.Mkdir(folder, 0o700); err != nil {
		t.Fatal(err)
	}
	told := 0
	f := openLog(t, filepath.Join(folder, "access.log"), func(error) { told++ })
	if err := os.Rename(folder, folder+".old"); err != nil {
		t.Fatal(err)
	}
	for range 3 {
		if f.Reopen() == nil {
			t.Fatal("a name in no folder was opened")
		}
	}
	write(t, f, "line\n")
	holds(t, filepath.Join(folder+".old", "access.log"), "line\n")
	if told != 1 {
		t.Errorf("the operator was told %d times", told)
	}
}
