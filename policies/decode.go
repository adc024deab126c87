package policies

import (
	"path/filepath"
	"reflect"
	"strconv"
	"strings"

	"go.yaml.in/yaml/v3"
)

// decoder turns YAML nodes into the policy's types. It goes on after each mistake, so
// that one run finds them all, and notes where each value stands.
type decoder struct {
	report    *report
	source    *source
	lookupEnv func(string) (string, bool)

	name, dir string                 // of the file at hand
	keys      map[reflect.Type]*keys // what each struct's keys are
	aliased   int                    // how many aliases lead to the node at hand
	visits    int                    // nodes that aliases made us read again
	unusable  bool                   // whether so much is wrong that judging the values would only confuse
}

// maxAliasVisits bounds the nodes that are read through aliases: a few lines of aliases of aliases can stand for billions.
const maxAliasVisits = 200_000

// maxRoutes is far more than anybody writes.
const maxRoutes = 50_000

// maxNesting bounds anchors that contain themselves; no policy nests its values as deeply.
const maxNesting = 32

// keys are the keys of a struct, embedded ones included.
type keys struct {
	names  []string
	fields map[string]field
}

type field struct {
	index []int
	kind  reflect.Type
}

// structKeys lists the keys of a struct type, in the order of its fields.
func structKeys(t reflect.Type) *keys {
	k := &keys{fields: map[string]field{}}
	for _, f := range reflect.VisibleFields(t) {
		name, _, _ := strings.Cut(f.Tag.Get("yaml"), ",")
		if name == "" || !f.IsExported() {
			continue
		}
		k.names = append(k.names, name)
		k.fields[name] = field{f.Index, f.Type}
	}
	return k
}

func (d *decoder) keysOf(t reflect.Type) *keys {
	if k, ok := d.keys[t]; ok {
		return k
	}
	if d.keys == nil {
		d.keys = map[reflect.Type]*keys{}
	}
	d.keys[t] = structKeys(t)
	return d.keys[t]
}

// file decodes a file's root into the policy, on top of what other files said.
func (d *decoder) file(name string, root *yaml.Node, p *Policy) {
	d.name, d.dir = name, filepath.Dir(name)
	at := d.position(root)
	if root.Kind != yaml.MappingNode {
		d.unusable = true
		d.report.errorf(at, "begin with `version: 1`", "the file is %s where the keys of a policy are expected", describe(root))
		return
	}
	d.structure(root, reflect.ValueOf(p).Elem(), "", at)
}

func (d *decoder) position(n *yaml.Node) Position {
	return Position{d.name, max(n.Line, 1), max(n.Column, 1)}
}

// value decodes a node into v, and notes where that fails.
func (d *decoder) value(n *yaml.Node, v reflect.Value, path string) {
	errors, broken := d.report.errors, len(d.source.broken)
	d.resolve(n, v, path)
	if d.report.errors > errors && len(d.source.broken) == broken {
		d.source.broken[path] = true
	}
}

// resolve follows an alias to what it stands for, and decodes that.
func (d *decoder) resolve(n *yaml.Node, v reflect.Value, path string) {
	if n.Kind == yaml.AliasNode {
		d.aliased++
		defer func() { d.aliased-- }()
		n = n.Alias
	}
	if !d.visit(n) {
		return
	}
	if at := d.position(n); n.Style&yaml.TaggedStyle != 0 && !plainTag(n.Tag) {
		d.report.errorf(at, "remove it", "the tag %s means nothing here", quote(n.Tag))
		return
	}
	if d.special(n, v, path) {
		return
	}
	switch v.Kind() {
	case reflect.Pointer:
		d.pointer(n, v, path)
	case reflect.Struct:
		if d.isMapping(n, path, "write `key: value` lines below it") {
			d.structure(n, v, path, d.position(n))
		}
	case reflect.Map:
		if d.isMapping(n, path, "write `name: ...` lines below it") {
			d.mapping(n, v, path)
		}
	case reflect.Slice:
		d.list(n, v, path)
	case reflect.String:
		d.word(n, v, path)
	case reflect.Int:
		d.integer(n, v)
	case reflect.Float64:
		d.float(n, v)
	case reflect.Bool:
		d.boolean(n, v)
	default:
		panic("policies: no decoding for " + v.Type().String())
	}
}

// visit counts what aliases make the decoder read, and stops a bomb of them.
func (d *decoder) visit(n *yaml.Node) bool {
	if d.aliased == 0 {
		return true
	}
	d.source.used[n] = struct{}{}
	d.visits++
	if d.visits > maxAliasVisits {
		if !d.unusable {
			d.unusable = true
			d.report.errorf(d.position(n), "write it out, or use groups", "aliases stand for more than %d values", maxAliasVisits)
		}
		return false
	}
	return true
}

// isMapping reports whether a node is a mapping. An empty one is none, but no mistake either:
// its keys may just have been commented out.
func (d *decoder) isMapping(n *yaml.Node, path, mend string) bool {
	if n.Kind != yaml.MappingNode && !isNull(n) {
		d.report.errorf(d.position(n), mend, "%s is %s where a mapping is expected", quote(path), describe(n))
	}
	return n.Kind == yaml.MappingNode
}

// pointer decodes an optional section. `off` switches it off, `on` leaves it at its defaults.
func (d *decoder) pointer(n *yaml.Node, v reflect.Value, path string) {
	if n.Kind == yaml.ScalarNode && n.Value == "off" {
		v.SetZero()
		return
	}
	if isNull(n) {
		d.noValue(n, path)
		return
	}
	if v.IsNil() {
		v.Set(withDefaults(v.Type()))
	}
	if n.Kind != yaml.ScalarNode || n.Value != "on" {
		d.value(n, v.Elem(), path)
	}
}

func (d *decoder) structure(n *yaml.Node, v reflect.Value, path string, at Position) {
	known := d.keysOf(v.Type())
	for _, p := range d.pairs(n, 0) {
		name := p.name
		f, ok := known.fields[name]
		if !ok {
			if path == "" && strings.HasPrefix(name, "x-") {
				continue
			}
			d.report.errorf(d.position(p.key), didYouMean(name, "keys here", known.names), "unknown key %s", quote(name))
			continue
		}
		child := join(path, name)
		// At the top, files add to each other's sections; below, nothing is said twice.
		if !d.note(child, p, path == "" && f.kind.Kind() != reflect.Int) {
			continue
		}
		d.value(p.value, v.FieldByIndex(f.index), child)
	}
}

func (d *decoder) mapping(n *yaml.Node, v reflect.Value, path string) {
	t := v.Type()
	for _, p := range d.pairs(n, 0) {
		key := reflect.New(t.Key()).Elem()
		if t.Key().Kind() == reflect.Int {
			number, err := strconv.Atoi(p.name)
			if err != nil {
				d.report.errorf(d.position(p.key), "write it as digits", "%s is not a number", quote(p.name))
				continue
			}
			key.SetInt(int64(number))
		} else {
			key.SetString(p.name)
		}
		child := join(path, p.name)
		if !d.note(child, p, false) {
			continue
		}
		elem := reflect.New(t.Elem()).Elem()
		if elem.Kind() == reflect.Pointer {
			elem.Set(withDefaults(elem.Type())) // a name is there even where its value is wrong or missing
			d.value(p.value, elem.Elem(), child)
		} else {
			d.value(p.value, elem, child)
		}
		if v.IsNil() {
			v.Set(reflect.MakeMap(t))
		}
		v.SetMapIndex(key, elem)
		if strings.HasSuffix(path, "headers.set") || strings.HasSuffix(path, "headers.add") {
			if secretName(p.name) {
				d.secret(p.value, maskSecret)
			}
		}
	}
}

// list decodes a list; a list of scalars may also be written as just one.
func (d *decoder) list(n *yaml.Node, v reflect.Value, path string) {
	t := v.Type()
	items := []*yaml.Node{n}
	switch {
	case n.Kind == yaml.SequenceNode:
		items = n.Content
	case isNull(n):
		d.noValue(n, path)
		return
	case t.Elem().Kind() == reflect.Pointer, n.Kind == yaml.MappingNode:
		d.report.errorf(d.position(n), "begin each item with `- `", "%s is %s where a list is expected", quote(path), describe(n))
		return
	}
	if t.Elem().Kind() != reflect.Pointer && path != "include" {
		v.Set(reflect.MakeSlice(t, 0, len(items))) // replaces the default; [] is a value, too
	}
	if path == "routes" && v.Len()+len(items) > maxRoutes {
		d.unusable = true
		d.report.errorf(d.position(n), "match several paths by one route", "the policy has more than %d routes", maxRoutes)
		return
	}
	for _, it := range items {
		child := item(path, v.Len())
		at := d.position(it)
		d.source.places[child] = place{at, at}
		elem := reflect.New(t.Elem()).Elem()
		if elem.Kind() == reflect.Pointer {
			elem.Set(withDefaults(elem.Type()))
			if isNull(it) {
				d.noValue(it, child)
			} else {
				d.value(it, elem.Elem(), child)
			}
		} else {
			d.value(it, elem, child)
		}
		v.Set(reflect.Append(v, elem))
	}
}

// note remembers where a key and its value stand, and reports one that another file has already.
func (d *decoder) note(path string, p pair, again bool) bool {
	key := d.position(p.key)
	if first, dup := d.source.places[path]; dup && !again {
		if path == "version" {
			return true // each file says which version it is
		}
		d.report.errorf(key, "remove one, or rename it", "%s is defined twice, first at %s", quote(path), first.key)
		return false
	} else if !dup {
		d.source.places[path] = place{key, d.position(p.value)}
	}
	return true
}

// pair is a key with its value.
type pair struct {
	name       string
	key, value *yaml.Node
}

// pairs lists a mapping's keys: its own first, then those that it merges with << and does not have itself.
func (d *decoder) pairs(n *yaml.Node, depth int) []pair {
	var own []pair
	var merges []*yaml.Node
	first := make(map[string]*yaml.Node, len(n.Content)/2)
	for i := 0; i+1 < len(n.Content); i += 2 {
		k, value := n.Content[i], n.Content[i+1]
		key := k
		if k.Kind == yaml.AliasNode {
			key = k.Alias
		}
		if key.Kind != yaml.ScalarNode {
			d.report.errorf(d.position(k), "write a word, and quote it where it is more", "a key is %s", describe(key))
			continue
		}
		if key.Tag == "!!merge" {
			merges = append(merges, value)
			continue
		}
		name, err := expand(key.Value, d.lookupEnv)
		if err != nil {
			d.report.errorf(d.position(k), err.mend, "%s", err.message)
			continue
		}
		if earlier, dup := first[name]; dup {
			d.report.errorf(d.position(k), "remove one of them", "the key %s is given twice, first at line %d", quote(name), earlier.Line)
			continue
		}
		first[name] = k
		own = append(own, pair{name, k, value})
	}
	for _, m := range merges {
		for _, p := range d.merged(m, depth+1) {
			if _, mine := first[p.name]; !mine {
				first[p.name] = p.key
				own = append(own, p)
			}
		}
	}
	return own
}

// merged lists what a << brings: a mapping's pairs, or those of a list of mappings, of which earlier ones win.
func (d *decoder) merged(n *yaml.Node, depth int) []pair {
	at := n
	if n.Kind == yaml.AliasNode {
		d.aliased++
		defer func() { d.aliased-- }()
		n = n.Alias
	}
	if depth > maxNesting {
		d.report.errorf(d.position(at), "unravel them", "merge keys are nested too deeply")
		return nil
	}
	if !d.visit(n) {
		return nil
	}
	switch n.Kind {
	case yaml.MappingNode:
		out := d.pairs(n, depth)
		for range out {
			d.visits++
		}
		return out
	case yaml.SequenceNode:
		var out []pair
		seen := map[string]bool{}
		for _, m := range n.Content {
			for _, p := range d.merged(m, depth+1) {
				if !seen[p.name] {
					seen[p.name] = true
					out = append(out, p)
				}
			}
		}
		return out
	}
	d.report.errorf(d.position(at), "merge an alias of a mapping: `<<: *name`", "<< merges %s", describe(n))
	return nil
}

func isNull(n *yaml.Node) bool { return n.Kind == yaml.ScalarNode && n.ShortTag() == "!!null" }

func (d *decoder) noValue(n *yaml.Node, path string) {
	d.report.errorf(d.position(n), "give it one, or remove the key", "%s has no value", quote(path))
}

// plainTag reports whether an explicit tag names one of YAML's own simple types, which the decoder checks anyway.
func plainTag(tag string) bool {
	switch tag {
	case "!!str", "!!int", "!!float", "!!bool", "!!null", "!!map", "!!seq", "!":
		return true
	}
	return false
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
	if isNull(n) {
		return "empty"
	}
	return quote(n.Value)
}
