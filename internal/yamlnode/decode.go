package yamlnode

import (
	"path/filepath"
	"reflect"
	"slices"
	"strconv"
	"strings"

	"github.com/headgate/headgate/internal/mask"
	"github.com/headgate/headgate/internal/suggest"
	"github.com/headgate/headgate/middleware/problem"
	"go.yaml.in/yaml/v3"
)

// Decoder turns YAML nodes into plain Go types, by their tags: `yaml` names a field's key,
// `config` has [Options], and `required` says how to mend that the key is missing,
// and `unless` names the key that may be there in its place.
// A type with SetDefaults() has its defaults before what the file says replaces them; one
// with Values() is one of these words; one with UnmarshalText reads its own scalars.
//
// It goes on after each mistake, so that one run finds them all, and notes where each value stands.
type Decoder struct {
	Walker
	Source *Source

	dir  string // of the file at hand
	keys map[reflect.Type]*keys
}

// maxItems bounds a list of sections. It is far more than a policy has routes.
const maxItems = 50_000

// keys are the keys of a struct, embedded ones included.
type keys struct {
	fields []Field
	names  []string
	byName map[string]Field
}

func (d *Decoder) keysOf(t reflect.Type) *keys {
	if k, ok := d.keys[t]; ok {
		return k
	}
	if d.keys == nil {
		d.keys = map[reflect.Type]*keys{}
	}
	k := &keys{fields: Fields(t), byName: map[string]Field{}}
	for _, f := range k.fields {
		k.names = append(k.names, f.Name)
		k.byName[f.Name] = f
	}
	d.keys[t] = k
	return k
}

// File decodes a file's root into a struct, on top of what other files said.
func (d *Decoder) File(f File, into any) {
	d.Source.Files = append(d.Source.Files, f)
	d.Name, d.dir, d.used = f.Name, filepath.Dir(f.Name), d.Source.used
	at := d.Position(f.Root)
	if f.Root.Kind != yaml.MappingNode {
		d.Unusable = true
		d.Report.Errorf(at, "begin with `version: 1`", "the file is %s where the keys of a policy are expected", Describe(f.Root))
		return
	}
	d.structure(f.Root, reflect.ValueOf(into).Elem(), "", at)
}

// value decodes a node into v, and notes where that fails.
func (d *Decoder) value(n *yaml.Node, v reflect.Value, path string, o Options) {
	errors, broken := d.Report.Errors, len(d.Source.broken)
	d.resolve(n, v, path, o)
	if d.Report.Errors > errors && len(d.Source.broken) == broken {
		d.Source.broken[path] = true
	}
}

// resolve follows an alias to what it stands for, and decodes that.
func (d *Decoder) resolve(n *yaml.Node, v reflect.Value, path string, o Options) {
	n, leave, ok := d.Enter(n)
	defer leave()
	if !ok {
		return
	}
	if at := d.Position(n); n.Style&yaml.TaggedStyle != 0 && !plainTag(n.Tag) {
		d.Report.Errorf(at, "remove it", "the tag %s means nothing here", problem.Quote(n.Tag))
		return
	}
	if d.special(n, v, path, o) {
		return
	}
	switch v.Kind() {
	case reflect.Pointer:
		d.optional(n, v, path, o)
	case reflect.Struct:
		if o.Has("optional") {
			d.optional(n, v, path, o)
			return
		}
		if d.isMapping(n, path, "write `key: value` lines below it") {
			d.structure(n, v, path, d.Position(n))
		}
		d.required(v.Type(), path)
	case reflect.Map:
		if d.isMapping(n, path, "write `name: ...` lines below it") {
			d.mapping(n, v, path, o)
		}
	case reflect.Slice:
		d.list(n, v, path, o)
	default:
		d.scalar(n, v, path, o)
	}
}

// isMapping reports whether a node is a mapping. An empty one is none, but no mistake either:
// its keys may just have been commented out.
func (d *Decoder) isMapping(n *yaml.Node, path, mend string) bool {
	if n.Kind != yaml.MappingNode && !isNull(n) {
		d.Report.Errorf(d.Position(n), mend, "%s is %s where a mapping is expected", problem.Quote(path), Describe(n))
	}
	return n.Kind == yaml.MappingNode
}

// optional decodes a section that may be left out. `off` switches it off, `on` leaves it at its defaults.
func (d *Decoder) optional(n *yaml.Node, v reflect.Value, path string, o Options) {
	if n.Kind == yaml.ScalarNode && n.Value == "off" {
		v.SetZero()
		if f, ok := tagged(v.Type(), "isoff"); ok {
			v.FieldByIndex(f.Index).SetBool(true)
		}
		return
	}
	if isNull(n) {
		d.noValue(n, path)
		return
	}
	pointer := v.Kind() == reflect.Pointer
	switch {
	case !pointer:
		setDefaults(v)
	case v.IsNil():
		setDefaults(v)
		v = v.Elem()
	default:
		v = v.Elem()
	}
	if n.Kind == yaml.ScalarNode && n.Value == "on" {
		d.required(v.Type(), path)
		return
	}
	errors := d.Report.Errors
	d.value(n, v, path, Options{Want: o.Want})
	// The owner of a section that says nothing takes it for left out, and would not judge it; but it sees that a pointer is there.
	if judge, ok := v.Addr().Interface().(interface{ Validate() []problem.Problem }); ok && !pointer && v.IsZero() && d.Report.Errors == errors {
		d.Source.Problems(d.Report, path, judge.Validate())
	}
}

func (d *Decoder) structure(n *yaml.Node, v reflect.Value, path string, at Position) {
	known := d.keysOf(v.Type())
	for _, p := range d.Pairs(n) {
		name := p.Name
		f, ok := known.byName[name]
		if !ok {
			if path == "" && strings.HasPrefix(name, "x-") {
				continue
			}
			d.Report.Errorf(d.Position(p.Key), suggest.DidYouMean(name, "keys here", known.names), "unknown key %s", problem.Quote(name))
			continue
		}
		child := problem.Key(path, name)
		// At the top, files add to each other's sections; below, nothing is said twice.
		if !d.note(child, p, path == "") {
			continue
		}
		if f.Required != "" && d.isBlank(p.Value) {
			d.missing(f, path, d.Position(p.Value))
			continue
		}
		d.value(p.Value, v.FieldByIndex(f.Index), child, f.Options)
	}
}

// required reports keys that must be there, at the key of what they are missing from. A key that is
// there with nothing behind it was reported by structure.
func (d *Decoder) required(t reflect.Type, path string) {
	for _, f := range d.keysOf(t).fields {
		if f.Required != "" && !d.Source.Has(problem.Key(path, f.Name)) && (f.Unless == "" || !d.Source.Has(problem.Key(path, f.Unless))) {
			d.missing(f, path, d.Source.KeyAt(path))
		}
	}
}

// missing reports that a section says nothing of a key that must be there.
func (d *Decoder) missing(f Field, path string, at Position) {
	d.Source.broken[problem.Key(path, f.Name)] = true
	d.Report.Errorf(at, f.Required, "%s has no %s", problem.Quote(path), f.Name)
}

// isBlank reports whether a value says nothing: it is null, white space, an empty variable, an empty mapping,
// or a list of nothing else.
func (d *Decoder) isBlank(n *yaml.Node) bool {
	n = target(n)
	if n.Kind != yaml.SequenceNode {
		return d.isBlankText(n) || n.Kind == yaml.MappingNode && len(n.Content) == 0
	}
	return !slices.ContainsFunc(n.Content, func(item *yaml.Node) bool { return !d.isBlankText(target(item)) })
}

func (d *Decoder) isBlankText(n *yaml.Node) bool {
	if n.Kind != yaml.ScalarNode {
		return false
	}
	text, err := expand(n.Value, d.LookupEnv)
	return isNull(n) || err == nil && strings.TrimSpace(text) == ""
}

// target is the node that an alias stands for, or the node itself. Only [Walker.Enter] bounds what lies below.
func target(n *yaml.Node) *yaml.Node {
	if n.Kind == yaml.AliasNode {
		return n.Alias
	}
	return n
}

func (d *Decoder) mapping(n *yaml.Node, v reflect.Value, path string, o Options) {
	t := v.Type()
	for _, p := range d.Pairs(n) {
		key := reflect.New(t.Key()).Elem()
		if t.Key().Kind() == reflect.Int {
			number, err := strconv.Atoi(p.Name)
			if err != nil {
				d.Report.Errorf(d.Position(p.Key), "write it as digits", "%s is not a number", problem.Quote(p.Name))
				continue
			}
			key.SetInt(int64(number))
		} else {
			key.SetString(p.Name)
		}
		child := problem.Key(path, p.Name)
		if !d.note(child, p, false) {
			continue
		}
		elem := withDefaults(t.Elem()) // a name is there even where its value is wrong or missing
		d.value(p.Value, reflect.Indirect(elem), child, o)
		if v.IsNil() {
			v.Set(reflect.MakeMap(t))
		}
		v.SetMapIndex(key, elem)
		if o.Has("headers") && mask.SecretName(p.Name) {
			d.secret(p.Value, maskSecret)
		}
	}
}

// list decodes a list; a list of scalars may also be written as just one.
func (d *Decoder) list(n *yaml.Node, v reflect.Value, path string, o Options) {
	t := v.Type()
	sections := Section(t.Elem())
	items := []*yaml.Node{n}
	switch {
	case n.Kind == yaml.SequenceNode && !o.Has("one"):
		items = n.Content
	case isNull(n):
		d.noValue(n, path)
		return
	case sections, n.Kind == yaml.MappingNode:
		d.Report.Errorf(d.Position(n), "begin each item with `- `", "%s is %s where a list is expected", problem.Quote(path), Describe(n))
		return
	}
	if !sections && !o.Has("add") {
		v.Set(reflect.MakeSlice(t, 0, len(items))) // replaces the default; [] is a value, too
	}
	if sections && v.Len()+len(items) > maxItems {
		d.Unusable = true
		d.Report.Errorf(d.Position(n), "write fewer, and let one do for several", "the file has more than %d %s", maxItems, path)
		return
	}
	ofItems := o.ofItems()
	for _, it := range items {
		child := problem.Item(path, v.Len())
		at := d.Position(it)
		d.Source.places[child] = place{at, at}
		elem := withDefaults(t.Elem())
		if sections && isNull(it) {
			d.noValue(it, child)
			d.required(reflect.Indirect(elem).Type(), child)
		} else {
			d.value(it, reflect.Indirect(elem), child, ofItems)
		}
		v.Set(reflect.Append(v, elem))
	}
	if o.Has("one") && v.Len() == 1 && v.Index(0).IsZero() {
		v.Set(v.Slice(0, 0))
	}
}

// note remembers where a key and its value stand, and reports one that another file has already.
func (d *Decoder) note(path string, p Pair, again bool) bool {
	key := d.Position(p.Key)
	if first, dup := d.Source.places[path]; dup && !again {
		d.Report.Errorf(key, "remove one, or rename it", "%s is defined twice, first at %s", problem.Quote(path), first.key)
		return false
	} else if !dup {
		d.Source.places[path] = place{key, d.Position(p.Value)}
	}
	return true
}

func isNull(n *yaml.Node) bool { return n.Kind == yaml.ScalarNode && n.ShortTag() == "!!null" }

func (d *Decoder) noValue(n *yaml.Node, path string) {
	d.Report.Errorf(d.Position(n), "give it one, or remove the key", "%s has no value", problem.Quote(path))
}

// plainTag reports whether an explicit tag names one of YAML's own simple types, which the decoder checks anyway.
func plainTag(tag string) bool {
	switch tag {
	case "!!str", "!!int", "!!float", "!!bool", "!!null", "!!map", "!!seq", "!":
		return true
	}
	return false
}

// Describe says what a node is, for errors.
func Describe(n *yaml.Node) string {
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
	return problem.Quote(n.Value)
}

func relativeTo(dir, path string) string {
	if path == "" || filepath.IsAbs(path) {
		return path
	}
	return filepath.Join(dir, path)
}
