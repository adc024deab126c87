package rfc9111

import (
	"net/http"
	"time"

	"github.com/dunglas/httpsfv"
)

// cdnCacheControl is the target list of this cache, RFC 9213 section 2.2: the
// one targeted field that it obeys.
const cdnCacheControl = "Cdn-Cache-Control"

// ResponseDirectives gives the directives that govern a response, and whether
// they come from a targeted field. A valid, non-empty CDN-Cache-Control wins
// over Cache-Control and Expires; an invalid or empty one is as if it were not
// there (RFC 9213 section 2.2).
func ResponseDirectives(h http.Header) (d Directives, targeted bool) {
	if lines := h[cdnCacheControl]; len(lines) > 0 {
		if d, ok := parseTargeted(lines); ok {
			return d, true
		}
	}
	return ParseCacheControl(h["Cache-Control"]), false
}

// parseTargeted reads a targeted cache control field: an RFC 8941 dictionary
// with directives for keys. A value of another type than its directive's is
// not coerced, it is ignored (RFC 9213 section 2.1), except that a restriction
// stays a restriction whatever its value: "private=1" is not public.
func parseTargeted(lines []string) (Directives, bool) {
	dict, err := httpsfv.UnmarshalDictionary(lines)
	if err != nil || len(dict.Names()) == 0 {
		return Directives{}, false
	}
	var d Directives
	for _, name := range dict.Names() {
		member, _ := dict.Get(name)
		item, ok := member.(httpsfv.Item)
		if !ok {
			item.Value = nil // an inner list is no directive's value
		}
		switch value := item.Value.(type) {
		case bool:
			if value {
				d.add(name, "", false)
			}
		case int64:
			if value >= 0 {
				d.addDelta(name, time.Duration(min(value, int64(MaxDelta/time.Second)))*time.Second)
			}
		case string:
			d.addFields(name, value)
		default:
			d.addFields(name, "")
		}
	}
	// A directive that takes seconds and has none ("max-age" alone) came in
	// through add as present and invalid; here it is ignored instead.
	for _, v := range []*Delta{&d.MaxAge, &d.SMaxAge, &d.Stale.WhileRevalidate, &d.Stale.IfError} {
		if !v.Valid {
			*v = Delta{}
		}
	}
	return d, true
}

// addDelta adds a directive whose structured value is an integer.
func (d *Directives) addDelta(name string, seconds time.Duration) {
	value := Delta{Present: true, Valid: true, Value: seconds}
	switch name {
	case "max-age":
		d.MaxAge = value
	case "s-maxage":
		d.SMaxAge = value
	case "stale-while-revalidate":
		d.Stale.WhileRevalidate = value
	case "stale-if-error":
		d.Stale.IfError = value
	default:
		d.addFields(name, "")
	}
}

// addFields adds a directive whose structured value is a string, which is a
// list of field names, or of a type that no directive has.
func (d *Directives) addFields(name, fields string) {
	switch name {
	case "no-store", "no-cache", "private", "must-revalidate", "proxy-revalidate":
		d.add(name, fields, true)
	}
}
