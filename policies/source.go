package policies

import (
	"strconv"
	"strings"

	"go.yaml.in/yaml/v3"
)

// source remembers what a policy was read from: where each value stands, and the nodes for showing it again.
type source struct {
	files  []sourceFile
	places map[string]place
	reads  []string        // x_file secrets that were read
	broken map[string]bool // where decoding failed, and there is no value to judge

	// secrets are the scalars that hold one, used those that an alias led to.
	secrets map[*yaml.Node]maskFunc
	used    map[*yaml.Node]struct{}
}

type sourceFile struct {
	name string
	data []byte
	root *yaml.Node
}

// place is where a value stands, and the key before it (the same for an item of a list).
type place struct{ key, value Position }

func newSource() *source {
	return &source{places: map[string]place{}, broken: map[string]bool{}, secrets: map[*yaml.Node]maskFunc{}, used: map[*yaml.Node]struct{}{}}
}

func (s *source) addFile(name string, data []byte, root *yaml.Node) {
	s.files = append(s.files, sourceFile{name, data, root})
}

// at is the position of the value at a path like routes[3].limits[0], or else of what is nearest around it.
func (s *source) at(path string) Position {
	p, _ := s.find(path)
	return p.value
}

// keyAt is the position of the key at a path: where to complain of what is missing inside.
func (s *source) keyAt(path string) Position {
	p, _ := s.find(path)
	return p.key
}

// has reports whether the file has something at exactly this path.
func (s *source) has(path string) bool {
	_, ok := s.places[path]
	return ok
}

func (s *source) find(path string) (place, bool) {
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
	start := Position{File: s.files[0].name, Line: 1, Column: 1}
	return place{start, start}, false
}

// join makes the path of a key inside another path, through as many levels as there are keys.
func join(path string, keys ...string) string {
	for _, key := range keys {
		if key == "" || strings.ContainsAny(key, ".[\"") {
			key = strconv.Quote(key)
		}
		if path != "" {
			path += "."
		}
		path += key
	}
	return path
}

func item(path string, i int) string { return path + "[" + strconv.Itoa(i) + "]" }
