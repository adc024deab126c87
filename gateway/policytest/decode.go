package policytest

import (
	"cmp"
	"fmt"
	"net/netip"
	"slices"
	"strconv"
	"time"

	"github.com/headgate/headgate/internal/suggest"
	"github.com/headgate/headgate/policies"
	"go.yaml.in/yaml/v3"
)

// decoder turns YAML nodes into a File. It goes on after each mistake, so that
// one run finds them all.
type decoder struct {
	file     *File
	found    policies.Diagnostics
	nodes    int  // decoded so far
	tooMany  bool // there were more than maxNodes; further mistakes are not reported
	reported map[policies.Diagnostic]bool
}

// maxNodes bounds how many nodes are decoded: aliases of aliases can stand for billions.
const maxNodes = 200_000

// fields has the function that reads the value of each key of a mapping.
type fields map[string]func(*yaml.Node)

func (d *decoder) at(n *yaml.Node) policies.Position {
	return policies.Position{File: d.file.Name, Line: max(n.Line, 1), Column: max(n.Column, 1)}
}

// errorf reports a mistake, and each one once: aliases lead to the same place again and again.
func (d *decoder) errorf(at policies.Position, mend, format string, args ...any) {
	found := policies.Diagnostic{Position: at, Message: fmt.Sprintf(format, args...), Mend: mend}
	if d.tooMany || d.reported[found] {
		return
	}
	if d.reported == nil {
		d.reported = map[policies.Diagnostic]bool{}
	}
	d.reported[found] = true
	d.found = append(d.found, found)
}

// kind is a node's kind; an alias has that of its target.
func kind(n *yaml.Node) yaml.Kind {
	if n.Kind == yaml.AliasNode {
		n = n.Alias
	}
	return n.Kind
}

// enter follows an alias and counts the node. It fails once there are too many.
func (d *decoder) enter(n *yaml.Node) (_ *yaml.Node, ok bool) {
	at := d.at(n)
	if n.Kind == yaml.AliasNode {
		n = n.Alias
	}
	if d.nodes++; d.nodes > maxNodes {
		d.errorf(at, "split the file, or use fewer aliases", "the file stands for more than %d values", maxNodes)
		d.tooMany = true
		return n, false
	}
	return n, true
}

// mapping reads a mapping's keys. what names the mapping in errors: "a test".
func (d *decoder) mapping(n *yaml.Node, what string, known fields) {
	d.pairs(n, what, func(name string, key, value *yaml.Node) {
		read, ok := known[name]
		if !ok {
			d.errorf(d.at(key), suggest.DidYouMean(name, "keys of "+what, keysOf(known)), "unknown key %q", short(name))
			return
		}
		read(value)
	})
}

// pairs calls f for each pair of a mapping.
func (d *decoder) pairs(n *yaml.Node, what string, f func(name string, key, value *yaml.Node)) {
	at := d.at(n)
	n, ok := d.enter(n)
	if !ok {
		return
	}
	if n.Kind != yaml.MappingNode {
		d.errorf(at, "write `key: value` lines below it", "%s is a mapping, not %s", what, describe(n))
		return
	}
	seen := make(map[string]int, len(n.Content)/2)
	for i := 0; i+1 < len(n.Content); i += 2 {
		key, value := n.Content[i], n.Content[i+1]
		if key.Kind != yaml.ScalarNode {
			d.errorf(d.at(key), "write a word, and quote it where it is more", "a key is %s", describe(key))
			continue
		}
		if line, dup := seen[key.Value]; dup {
			d.errorf(d.at(key), "remove one of them", "the key %q is given twice, first in line %d", short(key.Value), line)
			continue
		}
		seen[key.Value] = key.Line
		if value.Kind == yaml.ScalarNode && value.ShortTag() == "!!null" {
			d.errorf(d.at(value), "give it one, or remove the key", "%q has no value", short(key.Value))
			continue
		}
		f(key.Value, key, value)
	}
}

// list calls f for each item of a list.
func (d *decoder) list(n *yaml.Node, what string, f func(*yaml.Node)) {
	at := d.at(n)
	n, ok := d.enter(n)
	if !ok {
		return
	}
	if n.Kind != yaml.SequenceNode {
		d.errorf(at, "begin each item with `- `", "%s is a list, not %s", what, describe(n))
		return
	}
	for _, item := range n.Content {
		f(item)
	}
}

// text reads a scalar as it is written.
func (d *decoder) text(n *yaml.Node) (string, bool) {
	at := d.at(n)
	n, ok := d.enter(n)
	if !ok {
		return "", false
	}
	if n.Kind != yaml.ScalarNode || n.ShortTag() == "!!null" {
		d.errorf(at, "write text", "%s stands where text is expected", describe(n))
		return "", false
	}
	return n.Value, true
}

// word reads one of several words.
func (d *decoder) word(n *yaml.Node, known ...string) string {
	s, ok := d.text(n)
	if ok && !slices.Contains(known, s) {
		d.errorf(d.at(n), suggest.DidYouMean(s, "words here", known), "%q means nothing here", short(s))
		return ""
	}
	return s
}

func (d *decoder) number(n *yaml.Node, lo, hi int) int {
	s, ok := d.text(n)
	if !ok {
		return lo
	}
	i, err := strconv.Atoi(s)
	if err != nil || i < lo || i > hi {
		d.errorf(d.at(n), fmt.Sprintf("write digits alone, %d to %d", lo, hi), "%q is not a whole number from %d to %d", short(s), lo, hi)
		return lo
	}
	return i
}

func (d *decoder) duration(n *yaml.Node) time.Duration {
	s, ok := d.text(n)
	if !ok {
		return 0
	}
	v, err := policies.ParseDuration(s)
	if err != nil {
		d.errorf(d.at(n), "write it like 500ms, 90s, 15m, 12h or 7d", "%q %v", short(s), err)
	}
	return v
}

func (d *decoder) address(n *yaml.Node) netip.Addr {
	s, ok := d.text(n)
	if !ok {
		return netip.Addr{}
	}
	a, err := netip.ParseAddr(s)
	if err != nil {
		d.errorf(d.at(n), "write it like 192.0.2.7 or 2001:db8::7", "%q is not an IP address", short(s))
	}
	return a
}

func (d *decoder) want(n *yaml.Node) *Want {
	s, ok := d.text(n)
	if !ok {
		return nil
	}
	w, err := parseWant(s)
	if err != nil {
		d.errorf(d.at(n), "write `= ...` for the text itself", "%q cannot be compared with: %v", short(s), err)
		return nil
	}
	return &w
}

// requireName notes a name that the policy must define. kind is route, limit, upstream or client.
func (d *decoder) requireName(n *yaml.Node, kind, name string) {
	d.file.names = append(d.file.names, nameRef{d.at(n), kind, name})
}

// wantName reads an expectation of a route, limit or client of the policy.
func (d *decoder) wantName(n *yaml.Node, kind string) *Want {
	w := d.want(n)
	if w != nil && w.kind == wantExact {
		d.requireName(n, kind, w.exact)
	}
	return w
}

// sorted returns the mistakes in the order of the file.
func (d *decoder) sorted() policies.Diagnostics {
	slices.SortStableFunc(d.found, func(a, b policies.Diagnostic) int {
		return cmp.Or(cmp.Compare(a.Line, b.Line), cmp.Compare(a.Column, b.Column))
	})
	return d.found
}

func keysOf(f fields) []string {
	var names []string
	for name := range f {
		names = append(names, name)
	}
	return names
}

// describe says what a node is, for errors.
func describe(n *yaml.Node) string {
	switch n.Kind {
	case yaml.MappingNode:
		return "a mapping"
	case yaml.SequenceNode:
		return "a list"
	case yaml.AliasNode:
		return "an alias"
	}
	if n.ShortTag() == "!!null" {
		return "nothing"
	}
	return strconv.Quote(short(n.Value))
}

// short shortens text of the file for an error.
func short(s string) string {
	const most = 60
	if r := []rune(s); len(r) > most {
		return string(r[:most]) + "…"
	}
	return s
}
