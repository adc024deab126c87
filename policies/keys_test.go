package policies

import (
	"go/ast"
	"go/parser"
	"go/token"
	"net/netip"
	"reflect"
	"regexp"
	"strings"
	"testing"

	"github.com/headgate/headgate/internal/yamlnode"
	"github.com/headgate/headgate/middleware/cache"
	"github.com/headgate/headgate/middleware/proxy"
	"github.com/headgate/headgate/middleware/ratelimit"
	"github.com/headgate/headgate/middleware/session"
	"github.com/headgate/headgate/middleware/store"
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
	yamlnode.Field
	comment  string
	fallback reflect.Value // its default
	required bool
}

var requiredKey = regexp.MustCompile(`\bRequired\b|is required, and`)

// sections lists the policy's structs, each where it is met first.
func sections(t *testing.T) []*section {
	t.Helper()
	comments := typeComments(t)
	var list []*section
	seen := map[reflect.Type]bool{}
	var visit func(reflect.Type, reflect.Value)
	visit = func(typ reflect.Type, value reflect.Value) {
		for typ.Kind() == reflect.Pointer || typ.Kind() == reflect.Slice || typ.Kind() == reflect.Map {
			typ = typ.Elem()
		}
		if !yamlnode.Section(typ) || seen[typ] || typ == reflect.TypeFor[netip.Prefix]() {
			return
		}
		seen[typ] = true
		s := &section{name: sectionName(typ), typ: typ, comment: comments[typeName(typ)]}
		if rest, ok := strings.CutPrefix(s.comment, typ.Name()+" "); ok {
			s.comment = s.name + " " + rest
		}
		list = append(list, s)
		if value.Type() != typ || value.IsZero() { // a section of its own, rather than one that the value around it has
			fresh := reflect.New(typ)
			if d, ok := fresh.Interface().(interface{ SetDefaults() }); ok {
				d.SetDefaults()
			}
			value = fresh.Elem()
		}
		for _, f := range yamlnode.Fields(typ) {
			owner := typ
			if len(f.Index) > 1 {
				owner = typ.Field(f.Index[0]).Type
			}
			name := typ.FieldByIndex(f.Index).Name
			comment := comments[typeName(owner)+"."+name]
			if comment == "" {
				t.Errorf("%s.%s has no comment", owner.Name(), name)
			}
			if strings.Contains(comment, "Required") != (f.Required != "") {
				t.Errorf("%s.%s: the comment and the tag do not both say whether it is required", owner.Name(), name)
			}
			s.keys = append(s.keys, keyDoc{f, comment, value.FieldByIndex(f.Index), requiredKey.MatchString(comment)})
		}
		for _, k := range s.keys {
			visit(k.Type, k.fallback)
		}
	}
	visit(reflect.TypeFor[Policy](), reflect.Zero(reflect.TypeFor[Policy]()))
	return list
}

// typeComments reads the doc comments of types ("Limit") and fields ("Limit.Key"), each as one paragraph.
func typeComments(t *testing.T) map[string]string {
	t.Helper()
	comments := map[string]string{}
	for _, name := range commentFiles {
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
				comments[file.Name.Name+"."+typ.Name.Name] = oneLine(decl.Doc)
				if s, ok := typ.Type.(*ast.StructType); ok {
					for _, f := range s.Fields.List {
						for _, name := range f.Names {
							comments[file.Name.Name+"."+typ.Name.Name+"."+name.Name] = oneLine(f.Doc)
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
func defaultText(k keyDoc) string {
	v, o := k.fallback, k.Options
	switch v.Kind() {
	case reflect.Pointer, reflect.Map:
		return ""
	case reflect.Struct:
		if yamlnode.Section(v.Type()) {
			return ""
		}
	case reflect.Slice:
		if v.Len() == 0 {
			return ""
		}
		if v.Len() == 1 {
			return yamlnode.Text(v.Index(0), o)
		}
	case reflect.Bool:
	default:
		if v.IsZero() {
			return ""
		}
	}
	return yamlnode.Text(v, o)
}

// A comment says what the default is, and must not say what it isn't.
func TestCommentsStateTheDefaultsThatTheCodeSets(t *testing.T) {
	t.Parallel()
	for _, s := range sections(t) {
		for _, k := range s.keys {
			if k.required || k.Name == "limits" && k.Options.Has("off") {
				continue
			}
			stated := k.comment
			if i := strings.LastIndex(stated, "Default"); i >= 0 {
				stated = strings.ReplaceAll(strings.TrimLeft(stated[i+len("Default"):], ": "), `"`, "")
			} else if text := defaultText(k); text != "" {
				t.Errorf("%s.%s: the comment does not state the default %q", s.name, k.Name, text)
				continue
			}
			if text := defaultText(k); text != "" && !strings.HasPrefix(stated, text) {
				t.Errorf("%s.%s: the comment states the default %q, and it is %q", s.name, k.Name, stated, text)
			}
		}
	}
}

// countType may be written as a word or a list.
var countType = reflect.TypeFor[ratelimit.Count]()

// retryOnType is written as a word or a status.
var retryOnType = reflect.TypeFor[proxy.RetryOn]()

// sectionName is what a struct is called in the schema and the reference.
func sectionName(t reflect.Type) string {
	if name, ok := sectionNames[t]; ok {
		return name
	}
	return t.Name()
}

// sectionNames are those of structs that their packages call otherwise.
var sectionNames = map[reflect.Type]string{
	reflect.TypeFor[store.Options]():            "Redis",
	reflect.TypeFor[cache.Rule]():               "Cache",
	reflect.TypeFor[proxy.Config]():             "Upstream",
	reflect.TypeFor[proxy.Server]():             "UpstreamServer",
	reflect.TypeFor[proxy.TLS]():                "UpstreamTLS",
	reflect.TypeFor[session.Settings]():         "Session",
	reflect.TypeFor[session.CookieOptions]():    "Cookie",
	reflect.TypeFor[session.CSRFOptions]():      "CSRF",
	reflect.TypeFor[session.AssertionOptions](): "Assertion",
}

// commentFiles are where the types of a policy are described.
var commentFiles = []string{
	"policy.go", "route.go", "jobs.go",
	"../middleware/store/options.go", "../middleware/ratelimit/limit.go", "../middleware/cache/rule.go", "../middleware/compress/compression.go", "../middleware/jobs/queue.go", "../middleware/jobs/schedule.go",
	"../middleware/proxy/config.go", "../middleware/session/settings.go",
}

// typeName is a type's name with that of its package.
func typeName(t reflect.Type) string { return t.String() }
