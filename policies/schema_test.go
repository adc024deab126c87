package policies

import (
	"bytes"
	"encoding"
	"encoding/json"
	"flag"
	"fmt"
	"net/netip"
	"os"
	"path/filepath"
	"reflect"
	"regexp"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/headgate/headgate/internal/yamlnode"
	"github.com/invopop/jsonschema"
	"go.yaml.in/yaml/v3"
)

const (
	variable        = `\$\{` // any value may come from the environment
	durationPattern = `^([0-9]+(\.[0-9]+)?(ns|us|µs|ms|s|m|h|d))+$`
	sizePattern     = `^[0-9]+(KiB|MiB|GiB|TiB)?$`
	namePattern     = `^[A-Za-z0-9][A-Za-z0-9_.-]{0,63}$`
)

func TestSchemaAndReferenceAreMadeFromTheTypes(t *testing.T) {
	t.Parallel()
	list := sections(t)
	var schema bytes.Buffer
	encoder := json.NewEncoder(&schema)
	encoder.SetEscapeHTML(false)
	encoder.SetIndent("", "  ")
	if err := encoder.Encode(schemaOf(list)); err != nil {
		t.Fatal(err)
	}
	for name, made := range map[string]string{"schema.json": schema.String(), "REFERENCE.md": referenceOf(list)} {
		if flag.Lookup("update").Value.String() == "true" {
			if err := os.WriteFile(name, []byte(made), 0o666); err != nil {
				t.Fatal(err)
			}
		}
		if there, err := os.ReadFile(name); err != nil || string(there) != made {
			t.Errorf("%s is not what the types say (%v); run go generate ./policies\n%s", name, err, cmp.Diff(string(there), made))
		}
	}
}

// schemaOf makes the JSON Schema.
func schemaOf(list []*section) *jsonschema.Schema {
	root := objectOf(list[0])
	root.Version = jsonschema.Version
	root.Title = "Headgate policy"
	root.PatternProperties = map[string]*jsonschema.Schema{"^x-": jsonschema.TrueSchema}
	root.Required = nil // an included file need not say its version
	root.Definitions = jsonschema.Definitions{}
	for _, s := range list[1:] {
		root.Definitions[s.name] = objectOf(s)
	}
	return root
}

func objectOf(s *section) *jsonschema.Schema {
	instead := map[string][]string{} // by a key: those that it may be there in the place of
	o := &jsonschema.Schema{Type: "object", Description: s.comment, Properties: jsonschema.NewProperties(), AdditionalProperties: jsonschema.FalseSchema}
	for _, k := range s.keys {
		p := schemaOfType(k.Type, k.Options)
		p.Description = k.comment
		if text := defaultText(k); text != "" && !k.required {
			p.Default = defaultValue(k, text)
		}
		o.Properties.Set(k.Name, p)
		switch {
		case k.required && k.Unless == "":
			o.Required = append(o.Required, k.Name)
		case k.required:
			instead[k.Unless] = append(instead[k.Unless], k.Name)
		}
	}
	for key, these := range instead {
		o.AnyOf = append(o.AnyOf, &jsonschema.Schema{Required: these}, &jsonschema.Schema{Required: []string{key}})
	}
	return o
}

func defaultValue(k keyDoc, text string) any {
	v := k.fallback
	switch {
	case k.Has("switch"), v.Type() == reflect.TypeFor[time.Duration](), k.Has("size"):
		return text
	case k.Has("not"):
		return !v.Bool()
	case v.Kind() == reflect.Bool, v.CanInt(), v.CanFloat(), v.Kind() == reflect.Slice && v.Len() > 1:
		return v.Interface()
	}
	return text
}

func anyOf(options ...*jsonschema.Schema) *jsonschema.Schema {
	return &jsonschema.Schema{AnyOf: options}
}

func text(pattern string) *jsonschema.Schema {
	return &jsonschema.Schema{Type: "string", Pattern: pattern}
}

func ref(t reflect.Type) *jsonschema.Schema {
	return &jsonschema.Schema{Ref: "#/$defs/" + sectionName(t)}
}

func schemaOfType(t reflect.Type, o yamlnode.Options) *jsonschema.Schema {
	fromVariable := text(variable)
	switch {
	case t == reflect.TypeFor[time.Duration]() && o.Has("off"):
		return anyOf(text(durationPattern), &jsonschema.Schema{Type: "integer", Maximum: "0"}, &jsonschema.Schema{Enum: []any{"off"}}, fromVariable)
	case t == reflect.TypeFor[time.Duration]():
		return anyOf(text(durationPattern), &jsonschema.Schema{Type: "integer", Maximum: "0"}, fromVariable)
	case o.Has("size"):
		return anyOf(text(sizePattern), &jsonschema.Schema{Type: "integer", Minimum: "0"}, fromVariable)
	case o.Has("switch"):
		return anyOf(&jsonschema.Schema{Enum: []any{"on", "off"}}, fromVariable)
	case o.Has("one"):
		return schemaOfType(t.Elem(), yamlnode.Options{})
	case t == countType:
		return anyOf(&jsonschema.Schema{Enum: []any{"all", "failed"}}, &jsonschema.Schema{Type: "array", Items: schemaOfType(reflect.TypeFor[int](), yamlnode.Options{})}, fromVariable)
	case t == retryOnType:
		return anyOf(&jsonschema.Schema{Enum: []any{"connect", "timeout"}}, &jsonschema.Schema{Type: "integer"}, fromVariable)
	case isText(t), t.Kind() == reflect.Slice && t.Elem().Kind() == reflect.Uint8:
		return text("")
	case t.Kind() == reflect.Struct && hasSelf(t):
		return anyOf(text(""), ref(t))
	}
	if w, ok := reflect.Zero(t).Interface().(interface{ Values() []string }); ok {
		var words []any
		for _, word := range w.Values() {
			words = append(words, word)
		}
		return anyOf(&jsonschema.Schema{Enum: words}, fromVariable)
	}
	switch t.Kind() {
	case reflect.Pointer:
		return anyOf(ref(t.Elem()), &jsonschema.Schema{Enum: []any{"on", "off"}})
	case reflect.Struct:
		if o.Has("optional") {
			return anyOf(ref(t), &jsonschema.Schema{Enum: []any{"on", "off"}})
		}
		return anyOf(ref(t), &jsonschema.Schema{Type: "null"})
	case reflect.Map:
		value := t.Elem()
		of := schemaOfType(value, o)
		switch {
		case value.Kind() == reflect.Pointer:
			of = ref(value.Elem())
		case value.Kind() == reflect.String:
			of = anyOf(text(""), &jsonschema.Schema{Type: "number"}, &jsonschema.Schema{Type: "boolean"}) // {v: 2} is "2"
		}
		m := &jsonschema.Schema{Type: "object", AdditionalProperties: of}
		if value.Kind() == reflect.Pointer {
			m.PropertyNames = text(namePattern)
		}
		return anyOf(m, &jsonschema.Schema{Type: "null"})
	case reflect.Slice:
		if yamlnode.Section(t.Elem()) {
			items := t.Elem()
			if items.Kind() == reflect.Pointer {
				items = items.Elem()
			}
			if hasSelf(items) {
				return &jsonschema.Schema{Type: "array", Items: schemaOfType(items, o)}
			}
			return &jsonschema.Schema{Type: "array", Items: ref(items)}
		}
		one := schemaOfType(t.Elem(), o)
		return anyOf(one, &jsonschema.Schema{Type: "array", Items: one})
	case reflect.Int, reflect.Int64:
		return anyOf(&jsonschema.Schema{Type: "integer"}, fromVariable)
	case reflect.Float64:
		return anyOf(&jsonschema.Schema{Type: "number"}, fromVariable)
	case reflect.Bool:
		return anyOf(&jsonschema.Schema{Type: "boolean"}, fromVariable)
	}
	return text("")
}

// isText reports whether a type's values are one piece of text, read by UnmarshalText.
func isText(t reflect.Type) bool {
	return reflect.PointerTo(t).Implements(reflect.TypeFor[encoding.TextUnmarshaler]())
}

// hasSelf reports whether a section may be written as the value of one of its keys alone.
func hasSelf(t reflect.Type) bool {
	return slices.ContainsFunc(yamlnode.Fields(t), func(f yamlnode.Field) bool { return f.Has("self") })
}

// referenceOf makes the page of all keys.
func referenceOf(list []*section) string {
	var b strings.Builder
	b.WriteString(`# The policy file: every key

This page is made from the types in this folder (go generate ./policies); edit their comments instead.

Durations are written 500ms, 90s, 1h30m or 7d; sizes 512KiB or 10MiB; networks 10.0.0.0/8, 2001:db8::/32 or just an
address. Where a list of plain values is expected, one value may stand alone. A section in italics may be ` + "`off`, or `on`" + `
with its defaults. ` + "`${VAR}` and `${VAR:-default}`" + ` work in any value, and ` + "`$${`" + ` is a literal ` + "`${`" + `. Top-level keys
that begin with ` + "`x-`" + ` are ignored, as a place for YAML anchors. Relative paths start at the file that they stand in.
`)
	for _, s := range list {
		title := s.name
		if s.name == "Policy" {
			title = "The top level"
		}
		fmt.Fprintf(&b, "\n## %s\n\n%s\n\n| key | what it is | meaning |\n|---|---|---|\n", title, s.comment)
		for _, k := range s.keys {
			fmt.Fprintf(&b, "| `%s` | %s | %s |\n", k.Name, typeText(k.Type, k.Options), strings.ReplaceAll(k.comment, "|", `\|`))
		}
	}
	return b.String()
}

func typeText(t reflect.Type, o yamlnode.Options) string {
	link := func(t reflect.Type) string {
		return "[" + sectionName(t) + "](#" + strings.ToLower(sectionName(t)) + ")"
	}
	switch {
	case t == reflect.TypeFor[time.Duration]() && o.Has("off"):
		return "duration, or off"
	case t == reflect.TypeFor[time.Duration]():
		return "duration"
	case o.Has("size"):
		return "size"
	case t == reflect.TypeFor[netip.Prefix]():
		return "network"
	case o.Has("switch"):
		return "on, off"
	case o.Has("one"):
		return typeText(t.Elem(), yamlnode.Options{})
	case t == countType:
		return "all, failed, or statuses"
	case t == retryOnType:
		return "connect, timeout, or statuses"
	case t.Kind() == reflect.Slice && t.Elem().Kind() != reflect.Uint8:
		return "list of " + strings.Trim(typeText(t.Elem(), o), "*")
	case o.Has("secret"):
		return "secret"
	case strings.HasSuffix(o.Want, "path"):
		return "path"
	case isText(t):
		return "text"
	}
	if w, ok := reflect.Zero(t).Interface().(interface{ Values() []string }); ok {
		return strings.Join(w.Values(), ", ")
	}
	switch t.Kind() {
	case reflect.Pointer:
		return "*" + link(t.Elem()) + "*"
	case reflect.Struct:
		if o.Has("optional") {
			return "*" + link(t) + "*"
		}
		return link(t)
	case reflect.Map:
		return "by name: " + strings.Trim(typeText(t.Elem(), o), "*")
	case reflect.Int, reflect.Int64:
		return "number"
	case reflect.Float64:
		return "fraction"
	case reflect.Bool:
		return "true, false"
	}
	return "text"
}

// The schema must take what the loader takes: an editor that marks a good policy is worse than none.
func TestSchemaTakesEveryPolicyThatLoads(t *testing.T) {
	t.Parallel()
	var files []string
	for _, pattern := range []string{"*.yaml", "testdata/valid/*.yaml"} {
		found, err := filepath.Glob(pattern)
		if err != nil {
			t.Fatal(err)
		}
		files = append(files, found...)
	}
	for _, file := range files {
		if strings.HasSuffix(file, "_test.yaml") {
			continue
		}
		if problems := validateFile(t, file); len(problems) > 0 {
			t.Errorf("%s: %s", file, strings.Join(problems, "\n"))
		}
	}
}

func TestSchemaMarksCommonMistakes(t *testing.T) {
	t.Parallel()
	for _, name := range []string{
		"unknown_key_top", "unknown_key_nested", "server_is_a_list", "list_of_limits", "number_as_word", "number_fraction", "duration_unknown_unit",
		"size_unknown_unit", "word_unknown", "limit_algorithm", "limit_empty", "route_without_path", "upstream_without_servers", "route_session_word",
	} {
		if problems := validateFile(t, filepath.Join("testdata", "mistakes", name+".yaml")); len(problems) == 0 {
			t.Errorf("the schema takes %s", name)
		}
	}
}

func validateFile(t *testing.T, file string) []string {
	t.Helper()
	data, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	var value any
	if err := yaml.Unmarshal(data, &value); err != nil {
		t.Fatalf("%s: %v", file, err)
	}
	var root map[string]any
	if err := json.Unmarshal(Schema(), &root); err != nil {
		t.Fatal(err)
	}
	return (&jsonValidator{root}).check(root, value, "")
}

// jsonValidator knows the part of JSON Schema that schema.json uses.
type jsonValidator struct{ root map[string]any }

func (j *jsonValidator) check(schema, value any, path string) (problems []string) {
	if allowed, ok := schema.(bool); ok {
		if !allowed {
			return []string{path + " is not allowed"}
		}
		return nil
	}
	s := schema.(map[string]any)
	if ref, ok := s["$ref"].(string); ok {
		return j.check(j.root["$defs"].(map[string]any)[strings.TrimPrefix(ref, "#/$defs/")], value, path)
	}
	if options, ok := s["anyOf"].([]any); ok {
		for _, option := range options {
			found := j.check(option, value, path)
			if len(found) == 0 {
				problems = nil
				break
			}
			problems = append(problems, found...)
		}
	}
	if words, ok := s["enum"].([]any); ok && !slices.Contains(words, any(fmt.Sprint(value))) {
		problems = append(problems, fmt.Sprintf("%s: %v is not one of %v", path, value, words))
	}
	if typ, ok := s["type"].(string); ok && !hasType(value, typ) {
		return append(problems, fmt.Sprintf("%s: %v is no %s", path, value, typ))
	}
	if pattern, ok := s["pattern"].(string); ok && !regexp.MustCompile(pattern).MatchString(value.(string)) {
		problems = append(problems, fmt.Sprintf("%s: %v does not match %s", path, value, pattern))
	}
	switch v := value.(type) {
	case map[any]any: // JSON has no numbers for keys
		texts := map[string]any{}
		for key, item := range v {
			texts[fmt.Sprint(key)] = item
		}
		return append(problems, j.object(s, texts, path)...)
	case int:
		if most, ok := s["maximum"].(float64); ok && float64(v) > most {
			problems = append(problems, fmt.Sprintf("%s: %d is too large", path, v))
		}
	case []any:
		items, ok := s["items"]
		for i, item := range v {
			if !ok {
				break
			}
			problems = append(problems, j.check(items, item, fmt.Sprintf("%s[%d]", path, i))...)
		}
	case map[string]any:
		problems = append(problems, j.object(s, v, path)...)
	}
	return problems
}

func (j *jsonValidator) object(s, v map[string]any, path string) (problems []string) {
	required, _ := s["required"].([]any)
	for _, key := range required {
		if _, ok := v[key.(string)]; !ok {
			problems = append(problems, fmt.Sprintf("%s: no %s", path, key))
		}
	}
	properties, _ := s["properties"].(map[string]any)
	patterns, _ := s["patternProperties"].(map[string]any)
	for key, value := range v {
		of, known := properties[key]
		for pattern, schema := range patterns {
			if !known && regexp.MustCompile(pattern).MatchString(key) {
				of, known = schema, true
			}
		}
		if !known {
			of = s["additionalProperties"]
		}
		if of != nil {
			problems = append(problems, j.check(of, value, path+"."+key)...)
		}
		if names := s["propertyNames"]; names != nil {
			problems = append(problems, j.check(names, key, path)...)
		}
	}
	return problems
}

func hasType(value any, typ string) bool {
	switch value.(type) {
	case nil:
		return typ == "null"
	case bool:
		return typ == "boolean"
	case int:
		return typ == "integer" || typ == "number"
	case float64:
		return typ == "number"
	case string:
		return typ == "string"
	case []any:
		return typ == "array"
	case map[string]any, map[any]any:
		return typ == "object"
	}
	return false
}
