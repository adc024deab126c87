package yamlnode

import (
	"strings"

	"go.yaml.in/yaml/v3"
)

// Source remembers what a configuration was read from: where each value stands, and the
// nodes for showing it again.
type Source struct {
	Files []File

	places map[string]place
	broken map[string]bool // where decoding failed, and there is no value to judge

	// secrets are the scalars that hold one, used those that an alias led to.
	secrets map[*yaml.Node]maskFunc
	used    map[*yaml.Node]struct{}
}

// File is a file that was read.
type File struct {
	Name string
	Data []byte
	Root *yaml.Node
}

// place is where a value stands, and the key before it (the same for an item of a list).
type place struct{ key, value Position }

// NewSource returns a Source without files.
func NewSource() *Source {
	return &Source{places: map[string]place{}, broken: map[string]bool{}, secrets: map[*yaml.Node]maskFunc{}, used: map[*yaml.Node]struct{}{}}
}

// At is the position of the value at a path like routes[3].limits[0], or else of what is nearest around it.
func (s *Source) At(path string) Position {
	p, _ := s.find(path)
	return p.value
}

// KeyAt is the position of the key at a path: where to complain of what is missing inside.
func (s *Source) KeyAt(path string) Position {
	p, _ := s.find(path)
	return p.key
}

// Has reports whether the file has something at exactly this path.
func (s *Source) Has(path string) bool {
	_, ok := s.places[path]
	return ok
}

// Broken reports whether the value at a path could not be decoded, so that there is none to judge.
func (s *Source) Broken(path string) bool { return s.broken[path] }

// Break notes that there is no value to judge at a path, as what it names could not be read.
func (s *Source) Break(path string) { s.broken[path] = true }

func (s *Source) find(path string) (place, bool) {
	for {
		if p, ok := s.places[path]; ok {
			return p, true
		}
		i := strings.LastIndexAny(path, ".[")
		if i < 0 {
			break
		}
		path = path[:i]
	}
	start := Position{File: s.Files[0].Name, Line: 1, Column: 1}
	return place{start, start}, false
}
