// Package filestate reads the files that a policy names, and tells without reading them whether they have changed. Neither waits for a
// file system that does not answer.
package filestate

import "os"

// State tells one state of some files from another. A file that is not there is nil.
type State []os.FileInfo

// Of returns the files' state. Take it before the files are read: a change in between is found the next time.
func Of(names ...string) State {
	s := make(State, len(names))
	for i, name := range names {
		if info, err := stat(name); err == nil { // follows links
			s[i] = info
		}
	}
	return s
}

// Same reports whether no file has been changed, replaced, removed or made.
func (s State) Same(t State) bool {
	if len(s) != len(t) {
		return false
	}
	for i, a := range s {
		b := t[i]
		if a == nil || b == nil {
			if a != b {
				return false
			}
			continue
		}
		if !os.SameFile(a, b) || !a.ModTime().Equal(b.ModTime()) || a.Size() != b.Size() {
			return false
		}
	}
	return true
}
