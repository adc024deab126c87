package policies

import (
	"regexp"
	"slices"
	"strings"

	"github.com/headgate/headgate/internal/suggest"
	"github.com/headgate/headgate/middleware/problem"
	"github.com/headgate/headgate/middleware/session"
)

// Template is a text with placeholders, such as https://{host}{uri}, that each request fills in. Braces around anything but a name, such as
// those of JSON, stand for themselves, and {{ is a literal {.
type Template struct{ Parts []TemplatePart }

// TemplatePart is a placeholder, or where Name is "" the text between two.
type TemplatePart struct {
	Text string // of a placeholder: as it is written
	Name string // like host, or query of {query:NAME}
	Arg  string // the NAME of {query:NAME} and {param:NAME}
}

// The names of placeholders. Their values are the request's as it is matched: host without port, path escaped and normal.
const (
	PlaceClientIP  = "client_ip"
	PlaceHost      = "host"
	PlacePort      = "port"
	PlaceScheme    = "scheme"
	PlacePath      = "path"
	PlaceURI       = "uri"   // path and query
	PlaceQuery     = "query" // all of it as sent, or with NAME one parameter
	PlaceParam     = "param" // a :name of the route's path, or its *
	PlaceRequestID = "request_id"
	PlaceUser      = "user"
)

// placeholders has each as it is written.
var placeholders = []string{"{client_ip}", "{host}", "{port}", "{scheme}", "{path}", "{uri}", "{query}", "{query:NAME}", "{param:NAME}", "{request_id}", "{user}"}

var placeholder = regexp.MustCompile(`\{\{|\{([A-Za-z_][A-Za-z0-9_]*)(?::([^{}]*))?\}`)

// ParseTemplate takes a text apart.
func ParseTemplate(text string) Template {
	var t Template
	literal := func(s string) {
		if n := len(t.Parts); s != "" && n > 0 && t.Parts[n-1].Name == "" {
			t.Parts[n-1].Text += s
		} else if s != "" {
			t.Parts = append(t.Parts, TemplatePart{Text: s})
		}
	}
	end := 0
	for _, at := range placeholder.FindAllStringSubmatchIndex(text, -1) {
		literal(text[end:at[0]])
		end = at[1]
		if at[2] < 0 {
			literal("{")
			continue
		}
		part := TemplatePart{Text: text[at[0]:end], Name: text[at[2]:at[3]]}
		if at[4] >= 0 {
			part.Arg = text[at[4]:at[5]]
		}
		t.Parts = append(t.Parts, part)
	}
	literal(text[end:])
	return t
}

// Literal returns the text of a template without placeholders, and whether it is one.
func (t Template) Literal() (text string, ok bool) {
	switch {
	case len(t.Parts) == 0:
		return "", true
	case len(t.Parts) == 1 && t.Parts[0].Name == "":
		return t.Parts[0].Text, true
	}
	return "", false
}

// uses returns the placeholders in a template.
func (t Template) uses() []TemplatePart {
	return slices.DeleteFunc(slices.Clone(t.Parts), func(p TemplatePart) bool { return p.Name == "" })
}

// validatePlaceholders reports what is no placeholder, or none for this place.
func validatePlaceholders(ps *problem.List, path, text string, not ...string) {
	for _, p := range ParseTemplate(text).uses() {
		form := "{" + p.Name + "}"
		if strings.Contains(p.Text, ":") {
			form = "{" + p.Name + ":NAME}"
		}
		switch {
		case !slices.Contains(placeholders, form):
			ps.Add(path, strings.TrimSuffix(suggest.DidYouMean(form, "placeholders", placeholders), "?")+"; write {{ for a literal {", "%s is not a placeholder", problem.Quote(p.Text))
		case strings.Contains(form, ":") && p.Arg == "":
			ps.Add(path, "write it like {"+p.Name+":id}", "%s names nothing", problem.Quote(p.Text))
		case slices.Contains(not, form):
			ps.Add(path, "remove it; the request's query is kept as it is", "%s can't stand here", p.Text)
		}
	}
}

// sampleURL is a redirect's URL as it could be: it has an example for each placeholder of scheme, host and path. It is not ok where the host
// is what some part of the request says, other than its own host.
func sampleURL(to string) (sample string, ok bool) {
	var b strings.Builder
	inHost := false
	for i, p := range ParseTemplate(to).Parts {
		switch {
		case p.Name == "":
			b.WriteString(p.Text)
		case p.Name == PlaceScheme && i == 0:
			b.WriteString("https")
		case p.Name == PlacePath || p.Name == PlaceURI:
			b.WriteString("/p")
		case p.Name == PlacePort && inHost && strings.HasSuffix(b.String(), ":"):
			b.WriteString("443")
		case p.Name == PlaceHost && inHost:
			b.WriteString("example.com")
		case inHost:
			return "", false
		default:
			b.WriteString("x")
		}
		_, rest, absolute := strings.Cut(b.String(), "://")
		inHost = absolute && !strings.ContainsAny(rest, "/?#")
	}
	return b.String(), true
}

// placeholdersOf reports placeholders that have no value on a route, or one that is not for all whom its cached answers are for.
func (c *checker) placeholdersOf(r *Route, path string) {
	check := func(key, text string, shared bool) {
		at := problem.Key(path, key)
		if !c.at.Has(at) {
			at = path // its group has it, or defaults
		}
		for _, p := range ParseTemplate(text).uses() {
			switch {
			case p.Name == PlaceUser && r.Session == session.Off:
				c.bad(at, "write session: optional or required", "%s is not known on a route without sessions", p.Text)
			case p.Name == PlaceParam && !c.allHave(r, p.Arg):
				c.bad(at, "use what the path has", "not every path of the route has what %s refers to", p.Text)
			case r.Queue.Name != "" && key != "rewrite":
				c.bad(at, "write the value, or ask for it in the app by what the job says", "%s is not known when a job is done", p.Text)
			case shared && r.Cache != "" && !slices.Contains([]string{PlaceHost, PlaceScheme, PlacePath, PlaceParam}, p.Name):
				c.bad(at, "remove it, or write cache: off", "an answer with %s would be stored, and given to other clients", p.Text)
			}
		}
	}
	check("rewrite", r.Rewrite, true)
	for _, values := range []map[string]string{r.RequestHeaders.Set, r.RequestHeaders.Add} {
		for _, name := range sortedKeys(values) {
			check("request_headers", values[name], false)
		}
	}
	for _, values := range []map[string]string{r.ResponseHeaders.Set, r.ResponseHeaders.Add} {
		for _, name := range sortedKeys(values) {
			check("response_headers", values[name], true)
		}
	}
	if r.Redirect != nil {
		check("redirect", r.Redirect.To, false)
	}
}

// allHave reports whether each path of a route has the parameter.
func (c *checker) allHave(r *Route, param string) bool {
	return !slices.ContainsFunc(r.Path, func(text string) bool {
		p, wrong, _ := parsePattern(text, r.IgnoreCase)
		return wrong == "" && !p.has(param)
	})
}
