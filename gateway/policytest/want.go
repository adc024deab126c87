package policytest

import (
	"fmt"
	"regexp"
	"strconv"
	"strings"
)

// Want is an expectation of a value. In a file it is written:
//
//	none       there must be no value
//	any        there must be one
//	10..35     a whole number from 10 to 35
//	~ ^/login  a match for that regular expression (Go's, RE2)
//	= none     exactly what follows, whatever it looks like
//	hello      exactly that
type Want struct {
	text    string
	kind    wantKind
	exact   string
	pattern *regexp.Regexp
	lo, hi  int64
}

type wantKind int

const (
	wantExact wantKind = iota
	wantNone
	wantAny
	wantRange
	wantMatch
)

// maxPattern bounds regular expressions, in bytes: compiled ones take memory in proportion to their length.
const maxPattern = 1000

func parseWant(text string) (Want, error) {
	w := Want{text: text, exact: text}
	switch {
	case text == "none":
		w.kind = wantNone
	case text == "any":
		w.kind = wantAny
	case strings.HasPrefix(text, "= "):
		w.exact = text[2:]
	case strings.HasPrefix(text, "~ "):
		pattern := strings.TrimSpace(text[2:])
		if len(pattern) > maxPattern {
			return w, fmt.Errorf("the regular expression is longer than %d characters", maxPattern)
		}
		re, err := regexp.Compile(pattern)
		if err != nil {
			return w, err
		}
		w.kind, w.pattern = wantMatch, re
	default:
		if lo, hi, ok := parseRange(text); ok {
			if lo > hi {
				return w, fmt.Errorf("%d is more than %d", lo, hi)
			}
			w.kind, w.lo, w.hi = wantRange, lo, hi
		}
	}
	return w, nil
}

func parseRange(text string) (lo, hi int64, ok bool) {
	from, to, ok := strings.Cut(text, "..")
	if !ok {
		return 0, 0, false
	}
	lo, err1 := strconv.ParseInt(from, 10, 64)
	hi, err2 := strconv.ParseInt(to, 10, 64)
	return lo, hi, err1 == nil && err2 == nil
}

// String returns the text of the file.
func (w Want) String() string { return w.text }

// matches reports whether a value is as expected. Where a header has several, one of them
// must match, or all of them joined by commas.
func (w Want) matches(values ...string) bool {
	if w.kind == wantNone {
		return len(values) == 0
	}
	for _, v := range values {
		if w.accepts(v) {
			return true
		}
	}
	return len(values) > 1 && w.accepts(strings.Join(values, ", "))
}

func (w Want) accepts(v string) bool {
	switch w.kind {
	case wantAny:
		return true
	case wantRange:
		n, err := strconv.ParseInt(v, 10, 64)
		return err == nil && w.lo <= n && n <= w.hi
	case wantMatch:
		return w.pattern.MatchString(v)
	}
	return v == w.exact
}
