package policies

import (
	"fmt"
	"regexp"
	"slices"
	"strings"

	"github.com/headgate/headgate/internal/httpx"
)

// pattern is a route's path: static segments, :params, and perhaps a * at the end, which may have a suffix.
type pattern struct {
	text     string
	segments []segment
	star     bool
	suffix   string // that the last segment below the * ends with, escaped and normal, folded where the pattern ignores case

	ignoreCase bool
}

type segment struct {
	text  string // the static segment, escaped and normal, folded where the pattern ignores case; or the parameter's name
	param bool
}

// parsePattern reads a path of a route. The problem is "" when there is none.
func parsePattern(text string, ignoreCase bool) (p pattern, problem, mend string) {
	p.text, p.ignoreCase = text, ignoreCase
	if problem, mend := otherNotation(text); problem != "" {
		return p, problem, mend
	}
	if len(text) > 1 && text[0] == '*' && !strings.Contains(text, "/") {
		text = "/" + text // *.php
	}
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
		case part[0] == '*' && i == len(parts)-1 && !strings.Contains(part[1:], "*"):
			p.star, p.suffix = true, part[1:]
			if ignoreCase {
				p.suffix = httpx.FoldPath(p.suffix)
			}
		case strings.Contains(part, "*"):
			return p, fmt.Sprintf("the * in %s does not begin its last segment", quote(text)),
				"write /* or /*.css at the end, :name for one segment, or %2A for a literal *; match: {path_regex: ...} takes any other form"
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

// otherNotation says how to write here what other routers write as {id}, or as a regular expression.
func otherNotation(text string) (problem, mend string) {
	if strings.HasPrefix(text, "^") || strings.HasPrefix(text, "~") {
		expression := strings.TrimLeft(text, "~* ")
		literal := strings.TrimSuffix(strings.TrimPrefix(expression, "^"), "$")
		if strings.HasPrefix(expression, "^/") && strings.HasSuffix(expression, "$") && regexp.QuoteMeta(literal) == literal {
			return fmt.Sprintf("the path %s is a regular expression", quote(text)), "write " + quote(literal) + ", which matches nothing else"
		}
		return fmt.Sprintf("the path %s is a regular expression", quote(text)), "write path: /* and match: {path_regex: " + singleQuoted(expression) + "}"
	}
	if !braces.MatchString(text) {
		return "", ""
	}
	spelt := braces.ReplaceAllStringFunc(text, func(part string) string {
		name, constraint, _ := strings.Cut(strings.Trim(part, "/{}"), ":")
		bare := strings.TrimLeft(strings.TrimSuffix(strings.TrimSuffix(name, "..."), "*"), "*")
		if bare != name || constraint == ".*" || constraint == ".+" {
			return "/*"
		}
		return "/:" + bare
	})
	if _, wrong, _ := parsePattern(spelt, false); wrong != "" {
		spelt = "/users/:id"
	}
	return fmt.Sprintf("the path %s has its parameter in braces", quote(text)), "write it like " + quote(spelt) + "; a literal { is %7B"
}

// braces is a parameter as other routers write it.
var braces = regexp.MustCompile(`/\{[^{}/]*\}`)

func singleQuoted(s string) string { return "'" + strings.ReplaceAll(s, "'", "''") + "'" }

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
		b.WriteString("/*" + p.suffix)
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
		return p.takesRest(rest)
	}
	return rest == ""
}

// takesRest reports whether what a path has below the pattern's * ends as its suffix asks; the last segment's parameters
// do not count.
func (p pattern) takesRest(rest string) bool {
	if p.suffix == "" {
		return true
	}
	last := httpx.SegmentName(rest[strings.LastIndexByte(rest, '/')+1:])
	if p.ignoreCase {
		last = httpx.FoldPath(last)
	}
	cut, ok := strings.CutSuffix(last, p.suffix)
	n := len(cut)
	return ok && !(n >= 1 && cut[n-1] == '%' || n >= 2 && cut[n-2] == '%') // it does not begin within an escaped octet
}

// hasEncodedSlash reports whether every path that the pattern matches has an encoded slash or backslash.
func (p pattern) hasEncodedSlash() bool {
	return httpx.HasEncodedSlash(strings.ToUpper(p.suffix)) ||
		slices.ContainsFunc(p.segments, func(s segment) bool { return !s.param && httpx.HasEncodedSlash(strings.ToUpper(s.text)) })
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
