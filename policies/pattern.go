package policies

import (
	"fmt"
	"slices"
	"strings"

	"github.com/headgate/headgate/internal/httpx"
)

// pattern is a route's path: static segments, :params, and perhaps a * at the end.
type pattern struct {
	text     string
	segments []segment
	star     bool

	ignoreCase bool
}

type segment struct {
	text  string // the static segment, escaped and normal, folded where the pattern ignores case; or the parameter's name
	param bool
}

// parsePattern reads a path of a route. The problem is "" when there is none.
func parsePattern(text string, ignoreCase bool) (p pattern, problem, mend string) {
	p.text, p.ignoreCase = text, ignoreCase
	if !strings.HasPrefix(text, "/") {
		return p, fmt.Sprintf("the path %s does not begin with a slash", quote(text)), "write " + quote("/"+text)
	}
	if strings.ContainsAny(text, "?#") {
		return p, fmt.Sprintf("the path %s has a query or fragment", quote(text)), "match queries with `match: {query: ...}`, and write a literal ? as %3F"
	}
	if strings.Contains(text, ";") || strings.Contains(strings.ToUpper(text), "%3B") {
		return p, fmt.Sprintf("the path %s has parameters, which do not count in matching", quote(text)),
			"remove them: /a takes /a;b=1 as well, and the app server gets the path as it was sent"
	}
	normal, err := httpx.NormalizePath(text)
	if err != nil {
		return p, fmt.Sprintf("no request can have the path %s", quote(text)), "such paths are answered with 400; remove what hides a dot segment"
	}
	trimmed := strings.Trim(normal.RawPath, "/")
	if strings.Count(text, "/") != strings.Count(normal.RawPath, "/") {
		return p, fmt.Sprintf("no request has the path %s after normalising", quote(text)), "write " + quote(normal.RawPath)
	}
	if trimmed == "" {
		return p, "", ""
	}
	parts := strings.Split(trimmed, "/")
	names := map[string]bool{}
	for i, part := range parts {
		switch {
		case part == "*" && i == len(parts)-1:
			p.star = true
		case strings.Contains(part, "*"):
			return p, fmt.Sprintf("the * in %s is not a last segment of its own", quote(text)), "write /* at the end, :name for one segment, or %2A for a literal *"
		case part[0] == ':':
			name := part[1:]
			if !variableName(name) {
				return p, fmt.Sprintf("%s is not the name of a parameter", quote(part)), "write :name with letters, digits and _, or %3A for a literal :"
			}
			if names[name] {
				return p, fmt.Sprintf("the parameter %s stands twice in %s", quote(part), quote(text)), "give each a name of its own"
			}
			names[name] = true
			p.segments = append(p.segments, segment{name, true})
		default:
			if ignoreCase {
				part = httpx.FoldPath(part)
			}
			p.segments = append(p.segments, segment{part, false})
		}
	}
	return p, "", ""
}

// shape is the pattern without the names of its parameters: two patterns of one shape match the same paths.
func (p pattern) shape() string {
	var b strings.Builder
	for _, s := range p.segments {
		b.WriteByte('/')
		if s.param {
			b.WriteByte(':')
		} else {
			b.WriteString(s.text)
		}
	}
	if p.star {
		b.WriteString("/*")
	}
	return b.String()
}

// matches reports whether the pattern takes an escaped, normal path, and calls found
// with what each parameter matched; the name of a * is "*".
func (p pattern) matches(path string, found func(name, value string)) bool {
	rest := trimSlashes(path)
	for _, s := range p.segments {
		if rest == "" {
			return false
		}
		var part string
		part, rest, _ = strings.Cut(rest, "/")
		switch {
		case s.param:
			if found != nil {
				found(s.text, part)
			}
		case !p.takes(s, part):
			return false
		}
	}
	if p.star {
		if found != nil {
			found("*", rest)
		}
		return true
	}
	return rest == ""
}

// hasEncodedSlash reports whether every path that the pattern matches has an encoded slash or backslash.
func (p pattern) hasEncodedSlash() bool {
	return slices.ContainsFunc(p.segments, func(s segment) bool { return !s.param && httpx.HasEncodedSlash(strings.ToUpper(s.text)) })
}

// takes reports whether a static segment of the pattern is that of a path, whose parameters do not count.
func (p pattern) takes(s segment, part string) bool {
	name := httpx.SegmentName(part)
	if p.ignoreCase {
		name = httpx.FoldPath(name)
	}
	return s.text == name
}

// has reports whether the pattern has this parameter, or a * for "*".
func (p pattern) has(name string) bool {
	if name == "*" {
		return p.star
	}
	return p.hasParam(name)
}

// hasParam reports whether the pattern has the parameter :name.
func (p pattern) hasParam(name string) bool {
	for _, s := range p.segments {
		if s.param && s.text == name {
			return true
		}
	}
	return false
}

// references lists the :params and the * that a rewrite or redirect refers to.
func references(template string) []string {
	var names []string
	eachReference(template, func(string) {}, func(name string) { names = append(names, name) })
	return names
}

// eachReference takes a template apart: the text in between, and /:name and a last /*.
func eachReference(template string, text, reference func(string)) {
	for template != "" {
		i := strings.Index(template, "/")
		if i < 0 {
			text(template)
			return
		}
		text(template[:i+1])
		template = template[i+1:]
		if template == "*" || strings.HasPrefix(template, "*?") || strings.HasPrefix(template, "*#") {
			reference("*")
			template = template[1:]
		} else if strings.HasPrefix(template, ":") {
			end := 1
			for end < len(template) && variableName("x"+template[1:end+1]) {
				end++
			}
			if end > 1 {
				reference(template[1:end])
				template = template[end:]
			}
		}
	}
}
