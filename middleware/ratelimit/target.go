package ratelimit

import (
	"net/url"
	"strings"

	"github.com/headgate/headgate/internal/httpx"
	"github.com/labstack/echo/v4"
)

// maxParameter bounds a parameter's value, in bytes: longer ones that begin alike are one.
// No limit is meant for such values, and a client may make up any number of them.
const maxParameter = 1024

// pathParam is the value of a path's parameter, in the one form that all its spellings have:
// decoded, and without the segment's ;parameters, which routes do not look at either.
func pathParam(params Params, name string) string {
	if params == nil {
		return ""
	}
	value := httpx.SegmentName(params.Param(name))
	return bounded(unescapeAll(value, keepPlus))
}

// queryParam is the value of a query's parameter, decoded as forms are. Servers differ in
// which of several values they take, so that a client could be counted by one and served by
// another: different values of one name are none. A semicolon separates as & does, as some
// servers have it.
func queryParam(query, name string) (value string) {
	found := false
	for query != "" {
		pair := query
		if i := strings.IndexAny(query, "&;"); i >= 0 {
			pair, query = query[:i], query[i+1:]
		} else {
			query = ""
		}
		n, v, _ := strings.Cut(pair, "=")
		if unescapeAll(n, plusIsSpace) != name {
			continue
		}
		if v = unescapeAll(v, plusIsSpace); found && v != value {
			return ""
		}
		value, found = v, true
	}
	return bounded(value)
}

func bounded(value string) string { return value[:min(len(value), maxParameter)] }

// plus says what a plus sign stands for.
type plus bool

const (
	plusIsSpace plus = true  // in a query
	keepPlus    plus = false // in a path
)

// unescapeAll decodes all escapes. A percent sign without two hex digits stands for itself.
func unescapeAll(s string, p plus) string {
	if strings.IndexByte(s, '%') < 0 && (p == keepPlus || strings.IndexByte(s, '+') < 0) {
		return s
	}
	b := make([]byte, 0, len(s))
	for i := 0; i < len(s); i++ {
		c := s[i]
		switch {
		case c == '+' && p == plusIsSpace:
			c = ' '
		case c == '%' && i+2 < len(s):
			high, ok1 := httpx.Unhex(s[i+1])
			low, ok2 := httpx.Unhex(s[i+2])
			if ok1 && ok2 {
				c, i = high<<4|low, i+2
			}
		}
		b = append(b, c)
	}
	return string(b)
}

// echoParams are the parameters of the route that Echo has matched.
type echoParams struct{ echo.Context }

// Param brings what Echo has taken from a path, which may be decoded, into one form.
func (p echoParams) Param(name string) string {
	value := p.Context.Param(name)
	if p.Request().URL.RawPath != "" {
		value = unescapeAll(value, keepPlus)
	}
	return url.PathEscape(value)
}

// namedParams are the parameters that an operator names.
type namedParams map[string]string

func (p namedParams) Param(name string) string { return p[name] }
