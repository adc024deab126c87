package policies

import (
	"fmt"
	"go/ast"
	"go/parser"
	"go/token"
	"net/netip"
	"reflect"
	"regexp"
	"strings"
	"testing"
)

// What schema.json and REFERENCE.md say is gathered here from the types: their
// fields, the comments on these, and what a new value of them holds.

// section is a struct of the policy.
type section struct {
	name    string
	typ     reflect.Type
	comment string
	keys    []keyDoc
}

// keyDoc is one key of a section.
type keyDoc struct {
	name, comment string
	typ           reflect.Type
	fallback      reflect.Value // its default
	required      bool
}

var requiredKey = regexp.MustCompile(`\bRequired\b|is required, and`)

// sections lists the policy's structs, each where it is met first.
func sections(t *testing.T) []*section {
	t.Helper()
	comments := typeComments(t)
	var list []*section
	seen := map[reflect.Type]bool{}
	var visit func(reflect.Type)
	visit = func(typ reflect.Type) {
		for typ.Kind() == reflect.Pointer || typ.Kind() == reflect.Slice || typ.Kind() == reflect.Map {
			typ = typ.Elem()
		}
		if typ.Kind() != reflect.Struct || seen[typ] || typ == reflect.TypeFor[netip.Prefix]() || typ == reflect.TypeFor[Count]() {
			return
		}
		seen[typ] = true
		s := &section{name: typ.Name(), typ: typ, comment: comments[typ.Name()]}
		list = append(list, s)
		value := withDefaults(reflect.PointerTo(typ)).Elem()
		for _, f := range reflect.VisibleFields(typ) {
			name := f.Tag.Get("yaml")
			if name == "" || name == ",inline" {
				continue
			}
			owner := typ
			if len(f.Index) > 1 {
				owner = typ.Field(f.Index[0]).Type
			}
			comment := comments[owner.Name()+"."+f.Name]
			if comment == "" {
				t.Errorf("%s.%s has no comment", owner.Name(), f.Name)
			}
			s.keys = append(s.keys, keyDoc{name, comment, f.Type, value.FieldByIndex(f.Index), requiredKey.MatchString(comment)})
		}
		for _, k := range s.keys {
			visit(k.typ)
		}
	}
	visit(reflect.TypeFor[Policy]())
	return list
}

// typeComments reads the doc comments of types ("Limit") and fields ("Limit.Key"), each as one paragraph.
func typeComments(t *testing.T) map[string]string {
	t.Helper()
	comments := map[string]string{}
	for _, name := range []string{"policy.go", "upstream.go", "limit.go", "cache.go", "session.go", "route.go"} {
		file, err := parser.ParseFile(token.NewFileSet(), name, nil, parser.ParseComments)
		if err != nil {
			t.Fatal(err)
		}
		ast.Inspect(file, func(n ast.Node) bool {
			decl, ok := n.(*ast.GenDecl)
			if !ok || decl.Tok != token.TYPE {
				return true
			}
			for _, spec := range decl.Specs {
				typ := spec.(*ast.TypeSpec)
				comments[typ.Name.Name] = oneLine(decl.Doc)
				if s, ok := typ.Type.(*ast.StructType); ok {
					for _, f := range s.Fields.List {
						for _, name := range f.Names {
							comments[typ.Name.Name+"."+name.Name] = oneLine(f.Doc)
						}
					}
				}
			}
			return false
		})
	}
	return comments
}

func oneLine(c *ast.CommentGroup) string { return strings.Join(strings.Fields(c.Text()), " ") }

// defaultText writes a default as a policy would, or "" where there is nothing to say in one word.
func defaultText(v reflect.Value) string {
	switch d := v.Interface().(type) {
	case fmt.Stringer:
		if !v.IsZero() {
			return d.String()
		}
	case Switch:
		return map[Switch]string{true: "on", false: "off"}[d]
	case Count:
		return string(d.Mode)
	}
	switch v.Kind() {
	case reflect.String, reflect.Int, reflect.Float64:
		if !v.IsZero() {
			return fmt.Sprint(v.Interface())
		}
	case reflect.Slice:
		if v.Len() == 1 {
			return fmt.Sprint(v.Index(0))
		}
		if v.Len() > 1 {
			return strings.ReplaceAll(fmt.Sprint(v.Interface()), " ", ", ")
		}
	case reflect.Bool:
		return fmt.Sprint(v.Bool())
	}
	return ""
}

// A comment says what the default is, and must not say what it isn't.
func TestCommentsStateTheDefaultsThatTheCodeSets(t *testing.T) {
	t.Parallel()
	for _, s := range sections(t) {
		for _, k := range s.keys {
			if k.required || k.typ == reflect.TypeFor[Names]() {
				continue
			}
			stated := k.comment
			if i := strings.LastIndex(stated, "Default"); i >= 0 {
				stated = strings.ReplaceAll(strings.TrimLeft(stated[i+len("Default"):], ": "), `"`, "")
			} else if text := defaultText(k.fallback); text != "" {
				t.Errorf("%s.%s: the comment does not state the default %q", s.name, k.name, text)
				continue
			}
			if text := defaultText(k.fallback); text != "" && !strings.HasPrefix(stated, text) {
				t.Errorf("%s.%s: the comment states the default %q, and it is %q", s.name, k.name, stated, text)
			}
		}
	}
}
