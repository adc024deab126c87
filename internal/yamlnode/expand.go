package yamlnode

import (
	"fmt"
	"strings"

	"github.com/headgate/headgate/middleware/problem"
)

// A piece of a scalar: literal text, or a variable with what it falls back to.
type piece struct {
	text       string // literal text, where name is ""
	name       string
	fallback   string
	hasDefault bool
}

// expandError says what is wrong with a ${...}.
type expandError struct{ message, mend string }

// pieces takes a scalar apart: ${VAR}, ${VAR:-default}, and $${ for a literal ${. A default reaches to the first }.
func pieces(s string) ([]piece, *expandError) {
	var out []piece
	var literal strings.Builder
	flush := func() {
		if literal.Len() > 0 {
			out = append(out, piece{text: literal.String()})
			literal.Reset()
		}
	}
	for s != "" {
		i := strings.Index(s, "${")
		if i < 0 {
			literal.WriteString(s)
			break
		}
		if i > 0 && s[i-1] == '$' {
			literal.WriteString(s[:i-1])
			literal.WriteString("${")
			s = s[i+2:]
			continue
		}
		literal.WriteString(s[:i])
		inside, rest, closed := strings.Cut(s[i+2:], "}")
		if !closed {
			return nil, &expandError{"${ without its }", "close it, or write $${ for the characters ${ themselves"}
		}
		name, fallback, hasDefault := strings.Cut(inside, ":-")
		if !variableName(name) {
			return nil, &expandError{fmt.Sprintf("${%s} is not a variable", problem.Short(inside)),
				"write ${NAME} or ${NAME:-default}, or $${ for the characters ${ themselves"}
		}
		flush()
		out = append(out, piece{name: name, fallback: fallback, hasDefault: hasDefault})
		s = rest
	}
	flush()
	return out, nil
}

// expand replaces the variables in a scalar. As in a shell, a default also stands in for an empty value.
func expand(s string, lookup func(string) (string, bool)) (string, *expandError) {
	if !strings.Contains(s, "${") {
		return s, nil
	}
	parts, err := pieces(s)
	if err != nil {
		return "", err
	}
	var b strings.Builder
	for _, p := range parts {
		if p.name == "" {
			b.WriteString(p.text)
			continue
		}
		value, ok := lookup(p.name)
		switch {
		case p.hasDefault && (value == "" || !ok):
			b.WriteString(p.fallback)
		case ok:
			b.WriteString(value)
		default:
			return "", &expandError{fmt.Sprintf("the environment variable %s is not set", p.name),
				fmt.Sprintf("set it, or give a default: ${%s:-...}", p.name)}
		}
	}
	return b.String(), nil
}

func variableName(s string) bool {
	for i, c := range []byte(s) {
		letter := c == '_' || c|0x20 >= 'a' && c|0x20 <= 'z'
		if !letter && (i == 0 || c < '0' || c > '9') {
			return false
		}
	}
	return s != ""
}
