package logs

import (
	"errors"
	"strconv"
	"unicode/utf16"
	"unicode/utf8"
)

type kind byte

const (
	kindOther kind = iota // true, false, null
	kindString
	kindNumber
	kindObject
	kindArray
)

// value is a JSON value; raw refers to the line.
type value struct {
	kind    kind
	raw     []byte // of a string: without the quotes, escapes not yet undone
	escaped bool   // of a string: it contains backslashes
}

var errJSON = errors.New("no valid JSON")

// eachField calls visit for every field of an object, and stops at the first error. Only white space
// may follow the object.
func eachField(line []byte, visit func(key []byte, v value) error) error {
	s := scanner{b: line}
	s.space()
	if !s.take('{') {
		return errors.New("no JSON object")
	}
	s.space()
	for first := true; !s.take('}'); first = false {
		if !first {
			if !s.take(',') {
				return errJSON
			}
			s.space()
		}
		key, ok := s.str()
		if !ok {
			return errJSON
		}
		s.space()
		if !s.take(':') {
			return errJSON
		}
		s.space()
		v, ok := s.value()
		if !ok {
			return errJSON
		}
		if err := visit(key.bytes(), v); err != nil {
			return err
		}
		s.space()
	}
	s.space()
	if s.i != len(s.b) {
		return errJSON
	}
	return nil
}

// first returns the first element of an array, or the value itself.
func (v value) first() value {
	if v.kind != kindArray {
		return v
	}
	s := scanner{b: v.raw, i: 1}
	s.space()
	if e, ok := s.value(); ok {
		return e
	}
	return value{}
}

// bytes returns a string's text without escapes, and other values as they are written; null is nil.
func (v value) bytes() []byte {
	if v.kind == kindString && v.escaped {
		return unescape(v.raw)
	}
	if v.kind == kindOther && string(v.raw) == "null" {
		return nil
	}
	return v.raw
}

// scanner walks over JSON, one object a line. encoding/json takes ten times as long for that. It accepts what
// logs contain and JSON does not allow: \xHH in strings, as nginx writes them, and numbers of any shape.
type scanner struct {
	b []byte
	i int
}

func (s *scanner) space() {
	for s.i < len(s.b) && (s.b[s.i] == ' ' || s.b[s.i] == '\t' || s.b[s.i] == '\r' || s.b[s.i] == '\n') {
		s.i++
	}
}

// take consumes c if it comes next.
func (s *scanner) take(c byte) bool {
	if s.i < len(s.b) && s.b[s.i] == c {
		s.i++
		return true
	}
	return false
}

// str scans a string.
func (s *scanner) str() (value, bool) {
	if !s.take('"') {
		return value{}, false
	}
	v := value{kind: kindString}
	for start := s.i; s.i < len(s.b); s.i++ {
		switch s.b[s.i] {
		case '"':
			v.raw = s.b[start:s.i]
			s.i++
			return v, true
		case '\\':
			v.escaped = true
			s.i++
		}
	}
	return value{}, false
}

// value scans one value. It finds the end of an object or array by counting brackets.
func (s *scanner) value() (v value, ok bool) {
	if s.i >= len(s.b) {
		return v, false
	}
	start := s.i
	switch c := s.b[s.i]; {
	case c == '"':
		return s.str()
	case c == '{':
		v.kind = kindObject
		ok = s.nested()
	case c == '[':
		v.kind = kindArray
		ok = s.nested()
	default:
		if c == '-' || c >= '0' && c <= '9' {
			v.kind = kindNumber
		}
		for s.i < len(s.b) && isScalar(s.b[s.i]) {
			s.i++
		}
		ok = s.i > start
	}
	v.raw = s.b[start:s.i]
	return v, ok
}

func isScalar(c byte) bool {
	return c >= 'a' && c <= 'z' || c >= '0' && c <= '9' || c == '-' || c == '+' || c == '.' || c == 'E'
}

// nested skips an object or array.
func (s *scanner) nested() bool {
	for depth := 0; s.i < len(s.b); {
		switch s.b[s.i] {
		case '"':
			if _, ok := s.str(); !ok {
				return false
			}
			continue
		case '{', '[':
			depth++
		case '}', ']':
			depth--
		}
		s.i++
		if depth == 0 {
			return true
		}
	}
	return false
}

// unescape undoes a JSON string's escapes, and the \xHH of nginx and Apache. An unknown escape
// stays as it is written.
func unescape(raw []byte) []byte {
	out := make([]byte, 0, len(raw))
	for i := 0; i < len(raw); i++ {
		c := raw[i]
		if c != '\\' || i+1 == len(raw) {
			out = append(out, c)
			continue
		}
		i++
		switch raw[i] {
		case 'n':
			out = append(out, '\n')
		case 't':
			out = append(out, '\t')
		case 'r':
			out = append(out, '\r')
		case 'b':
			out = append(out, '\b')
		case 'f':
			out = append(out, '\f')
		case 'v':
			out = append(out, '\v')
		case '"', '\\', '/':
			out = append(out, raw[i])
		case 'x':
			n, ok := hex(raw, i+1, 2)
			if !ok {
				out = append(out, '\\', 'x')
				continue
			}
			out = append(out, byte(n))
			i += 2
		case 'u':
			r, ok := hex(raw, i+1, 4)
			if !ok {
				out = append(out, '\\', 'u')
				continue
			}
			i += 4
			if utf16.IsSurrogate(r) {
				low, ok := hex(raw, i+3, 4)
				if pair := utf16.DecodeRune(r, low); ok && raw[i+1] == '\\' && raw[i+2] == 'u' && pair != utf8.RuneError {
					r = pair
					i += 6
				}
			}
			out = utf8.AppendRune(out, r)
		default:
			out = append(out, '\\', raw[i])
		}
	}
	return out
}

// hex reads n hexadecimal digits.
func hex(b []byte, from, n int) (rune, bool) {
	if from+n > len(b) {
		return 0, false
	}
	v, err := strconv.ParseUint(string(b[from:from+n]), 16, 32)
	return rune(v), err == nil
}
