package policytest

import (
	"fmt"
	"net/netip"
	"slices"
	"strconv"
	"time"

	"github.com/headgate/headgate/internal/suggest"
	"github.com/headgate/headgate/internal/yamlnode"
	"github.com/headgate/headgate/middleware/problem"
	"github.com/headgate/headgate/policies"
	"go.yaml.in/yaml/v3"
)

// decoder turns YAML nodes into a File. The keys of tests are a grammar of their own (`first 100`, `rest`, `to: GET /x`)
// and their text is taken as it stands, so that it walks through the nodes itself, by yamlnode's Walker. It goes on after
// each mistake, so that one run finds them all.
type decoder struct {
	yamlnode.Walker
	file *File
}

func newDecoder(f *File) *decoder {
	return &decoder{yamlnode.Walker{Report: &yamlnode.Report{Files: []string{f.Name}}, Name: f.Name, AliasMend: "split the file, or use fewer aliases"}, f}
}

// fields has the function that reads the value of each key of a mapping.
type fields map[string]func(*yaml.Node)

// at is where a node stands.
func (d *decoder) at(n *yaml.Node) policies.Position { return d.Position(n) }

// errorf reports a mistake. Once aliases stand for too much, what else is found would only confuse.
func (d *decoder) errorf(at policies.Position, mend, format string, args ...any) {
	if !d.Unusable {
		d.Report.Errorf(at, mend, format, args...)
	}
}

// kind is a node's kind; an alias has that of its target.
func kind(n *yaml.Node) yaml.Kind {
	if n.Kind == yaml.AliasNode {
		n = n.Alias
	}
	return n.Kind
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
	n, leave, ok := d.Enter(n)
	defer leave()
	if !ok {
		return
	}
	if n.Kind != yaml.MappingNode {
		d.errorf(at, "write `key: value` lines below it", "%s is a mapping, not %s", what, yamlnode.Describe(n))
		return
	}
	for _, p := range d.Pairs(n) {
		if p.Value.Kind == yaml.ScalarNode && p.Value.ShortTag() == "!!null" {
			d.errorf(d.at(p.Value), "give it one, or remove the key", "%q has no value", short(p.Name))
			continue
		}
		f(p.Name, p.Key, p.Value)
	}
}

// list calls f for each item of a list.
func (d *decoder) list(n *yaml.Node, what string, f func(*yaml.Node)) {
	at := d.at(n)
	n, leave, ok := d.Enter(n)
	defer leave()
	if !ok {
		return
	}
	if n.Kind != yaml.SequenceNode {
		d.errorf(at, "begin each item with `- `", "%s is a list, not %s", what, yamlnode.Describe(n))
		return
	}
	for _, item := range n.Content {
		f(item)
	}
}

// text reads a scalar as it is written.
func (d *decoder) text(n *yaml.Node) (string, bool) {
	at := d.at(n)
	n, leave, ok := d.Enter(n)
	defer leave()
	if !ok {
		return "", false
	}
	if n.Kind != yaml.ScalarNode || n.ShortTag() == "!!null" {
		d.errorf(at, "write text", "%s stands where text is expected", yamlnode.Describe(n))
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

// errors counts the mistakes so far.
func (d *decoder) errors() int { return d.Report.Errors }

func keysOf(f fields) []string {
	var names []string
	for name := range f {
		names = append(names, name)
	}
	return names
}

// short shortens what is quoted back from the file.
func short(s string) string { return problem.Short(s) }
