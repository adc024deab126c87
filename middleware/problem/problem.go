// Package problem describes mistakes in a configuration value.
//
// Each package under middleware/ has a configuration type with a method Validate that
// returns problems. A constructor makes one error of them (see [Error]); a policy file's
// loader shows each with the line and column of the value that it is about.
package problem

import (
	"errors"
	"fmt"
	"strconv"
	"strings"
)

// Problem is one mistake in a configuration value.
type Problem struct {
	// Path says where the mistake is inside the value, in the names that a policy file
	// uses: "ban.for", "key[1]", "plans.gold". "" is the value itself.
	Path string
	// Message says what is wrong. Where it begins with [This], the name of the value stands
	// there: see [Problem.Text].
	Message string
	// Mend says what to do about it.
	Mend string
	// Warning marks what is legal but can't be what was meant. Constructors ignore it.
	Warning bool
	// AtKey asks for the place of the key before the value: what is inside is missing, or
	// the key itself is wrong.
	AtKey bool
}

// New makes a problem that is an error. Format and args are those of fmt.Sprintf.
func New(path, mend, format string, args ...any) Problem {
	return Problem{Path: path, Mend: mend, Message: fmt.Sprintf(format, args...)}
}

// Warn makes a problem that is a warning.
func Warn(path, mend, format string, args ...any) Problem {
	p := New(path, mend, format, args...)
	p.Warning = true
	return p
}

// This at the beginning of a Message stands for the whole path of the value, which its type
// does not know.
const This = "{this}"

// Text is the message for a value at path, as counted from the top of the configuration.
func (p Problem) Text(path string) string {
	if rest, ok := strings.CutPrefix(p.Message, This); ok {
		return Quote(path) + rest
	}
	return p.Message
}

// Error writes the problem in one line: path: what is wrong; how to mend it. So a Problem
// can be returned where an error is expected.
func (p Problem) Error() string {
	text := p.Text(p.Path)
	if p.Path != "" && text == p.Message {
		text = p.Path + ": " + text
	}
	if p.Mend != "" {
		text += "; " + p.Mend
	}
	return text
}

// Error joins the errors among problems into one error, each with prefix before it. It is
// nil if there is none.
func Error(prefix string, problems []Problem) error {
	var errs []error
	for _, p := range problems {
		if !p.Warning {
			errs = append(errs, fmt.Errorf("%s: %w", prefix, p))
		}
	}
	return errors.Join(errs...)
}

// Within returns problems of a part as problems of the whole: path is where the part is.
func Within(path string, problems []Problem) []Problem {
	for i := range problems {
		problems[i].Path = Join(path, problems[i].Path)
	}
	return problems
}

// Join joins two paths, either of which may be "".
func Join(path, rest string) string {
	if path == "" || rest == "" || rest[0] == '[' {
		return path + rest
	}
	return path + "." + rest
}

// Key makes the path of a key inside another path, through as many levels as there are keys.
func Key(path string, keys ...string) string {
	for _, key := range keys {
		if key == "" || strings.ContainsAny(key, ".[\"") {
			key = strconv.Quote(key)
		}
		path = Join(path, key)
	}
	return path
}

// Item makes the path of an item of a list.
func Item(path string, i int) string { return path + "[" + strconv.Itoa(i) + "]" }

// Quote quotes what the configuration says, in one line and shortened to 60 characters.
func Quote(s string) string { return fmt.Sprintf("%q", Short(s)) }

// Short shortens text to 60 characters.
func Short(s string) string {
	const most = 60
	if r := []rune(s); len(r) > most {
		return string(r[:most]) + "…"
	}
	return s
}
