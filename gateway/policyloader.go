package main

import (
	"crypto/sha256"
	"fmt"
	"path/filepath"
	"slices"
	"strings"
	"sync"

	"github.com/headgate/headgate/internal/filestate"
	"github.com/headgate/headgate/policies"
)

// policyLoader loads the policy's files, and knows what it read the last time,
// so that a change can be told from a file that only lies beside them.
type policyLoader struct {
	names []string

	mu   sync.Mutex
	read *reads
}

// load loads the policy, of which there is none where the diagnostics have an error.
func (l *policyLoader) load() (*policies.Policy, policies.Diagnostics) {
	read := &reads{contents: map[string]string{}, matches: map[string]string{}}
	p, found := policies.LoadFiles(l.names, policies.LoadOptions{ReadFile: read.file, Glob: read.glob, CheckFiles: true})
	l.mu.Lock()
	defer l.mu.Unlock()
	l.read = read
	return p, found
}

// lastRead returns what the last load read.
func (l *policyLoader) lastRead() *reads {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.read
}

// reads is what one load read: files with what they held, and patterns with
// the files that they matched. It is complete when the load has ended.
type reads struct {
	contents map[string]string // by path: a hash, or why the file could not be read
	matches  map[string]string // by pattern
}

func (r *reads) file(path string) ([]byte, error) {
	text, err := filestate.Read(path)
	r.contents[path] = describe(text, err)
	return text, err
}

func (r *reads) glob(pattern string) ([]string, error) {
	files, err := filepath.Glob(pattern)
	r.matches[pattern] = strings.Join(files, "\x00")
	return files, err
}

// changed reports whether a load would read something else now.
func (r *reads) changed() bool {
	for path, before := range r.contents {
		if describe(filestate.Read(path)) != before {
			return true
		}
	}
	for pattern, before := range r.matches {
		if files, _ := filepath.Glob(pattern); strings.Join(files, "\x00") != before { // the load has reported a bad pattern
			return true
		}
	}
	return false
}

// folders are those in which a change of what was read shows: of the names
// themselves, of what symlinks lead to, and of what patterns look through.
func (r *reads) folders() []string {
	var dirs []string
	for path := range r.contents {
		dirs = append(dirs, filepath.Dir(path))
		if real, err := filepath.EvalSymlinks(path); err == nil {
			dirs = append(dirs, filepath.Dir(real))
		}
	}
	for pattern := range r.matches {
		dirs = append(dirs, filepath.Dir(pattern)) // none where it has a pattern itself: the poll finds the file
	}
	slices.Sort(dirs)
	return slices.Compact(dirs)
}

func describe(text []byte, err error) string {
	if err != nil {
		return err.Error()
	}
	return fmt.Sprintf("%x", sha256.Sum256(text))
}
