package rfc9111

import (
	"net/http"
	"strings"
	"time"

	"github.com/headgate/headgate/internal/httpx"
)

// MaxDelta is what a delta-seconds that overflows becomes: RFC 9111 section
// 1.2.2 says 2^31 seconds or the greatest that the recipient can hold.
const MaxDelta = (1 << 31) * time.Second

// Delta is a directive whose argument is delta-seconds (RFC 9111 section
// 1.2.2). The zero Delta is a directive that the message does not have.
type Delta struct {
	Present bool
	Valid   bool // the argument was a non-negative integer
	Value   time.Duration
}

// Directives is a Cache-Control field, or a targeted field with the same
// directives (RFC 9213), as far as a shared cache acts on it.
type Directives struct {
	NoStore, NoCache, Private, Public               bool
	MustRevalidate, ProxyRevalidate, MustUnderstand bool
	OnlyIfCached                                    bool

	MaxAge, SMaxAge, MaxStale, MinFresh Delta
	Stale                               Stale[Delta]

	// NoCacheFields and PrivateFields are the response fields that qualified
	// forms name: no-cache="..." and private="...".
	NoCacheFields, PrivateFields []string
}

// ParseCacheControl reads all Cache-Control lines of a message, RFC 9111
// section 5.2. It never fails: what cannot be read is dropped where that makes
// the cache more careful, and read as the more restrictive meaning elsewhere.
//
//   - The first of duplicate directives counts (section 4.2.1).
//   - An argument may be a token or a quoted string, whichever the directive
//     prefers (section 5.2).
//   - A max-age that is no non-negative integer is present and invalid, which
//     makes the response stale (section 4.2.1).
//   - After a quoted string that never ends, only restrictions are believed.
func ParseCacheControl(lines []string) Directives {
	var d Directives
	for _, line := range lines {
		for line != "" {
			var name, arg string
			var hasArg, broken bool
			name, arg, hasArg, broken, line = nextDirective(line)
			if broken {
				d.restrictOnly(line)
				break
			}
			d.add(name, arg, hasArg)
		}
	}
	return d
}

// nextDirective cuts one directive off a Cache-Control line. broken reports a
// quoted string that does not end; rest then begins inside it.
func nextDirective(line string) (name, arg string, hasArg, broken bool, rest string) {
	end := strings.IndexAny(line, ",=")
	if end < 0 {
		return strings.TrimSpace(line), "", false, false, ""
	}
	name = httpx.TrimOWS(line[:end])
	if line[end] == ',' {
		return name, "", false, false, line[end+1:]
	}
	rest = line[end+1:]
	if strings.HasPrefix(rest, `"`) {
		value, after, ok := quotedString(rest)
		if !ok {
			return name, "", true, true, rest[1:]
		}
		next := strings.IndexByte(after, ',')
		if next < 0 {
			next = len(after)
		}
		if httpx.TrimOWS(after[:next]) != "" { // "60"0: not an argument
			value = "\x00"
		}
		return name, value, true, false, strings.TrimPrefix(after[next:], ",")
	}
	next := strings.IndexByte(rest, ',')
	if next < 0 {
		next = len(rest)
	}
	// Only the space after the argument may go: "max-age= 60" is no integer,
	// nor is "max-age =60" a max-age; both are invalid, hence stale.
	arg = strings.TrimRight(rest[:next], " \t")
	if strings.HasSuffix(line[:end], " ") || strings.HasSuffix(line[:end], "\t") {
		arg = "\x00"
	}
	return name, arg, true, false, strings.TrimPrefix(rest[next:], ",")
}

// quotedString reads an RFC 9110 section 5.6.4 quoted-string at the start of s.
func quotedString(s string) (value, rest string, ok bool) {
	if close := strings.IndexAny(s[1:], `"\`); close >= 0 && s[1+close] == '"' {
		return s[1 : 1+close], s[2+close:], true
	}
	var b strings.Builder
	for i := 1; i < len(s); i++ {
		switch s[i] {
		case '"':
			return b.String(), s[i+1:], true
		case '\\':
			i++
			if i == len(s) {
				return "", "", false
			}
			b.WriteByte(s[i])
		default:
			b.WriteByte(s[i])
		}
	}
	return "", "", false
}

func (d *Directives) add(name, arg string, hasArg bool) {
	switch {
	case strings.EqualFold(name, "no-store"):
		d.NoStore = true
	case strings.EqualFold(name, "no-cache"):
		d.NoCacheFields = qualify(&d.NoCache, d.NoCacheFields, arg, hasArg)
	case strings.EqualFold(name, "private"):
		d.PrivateFields = qualify(&d.Private, d.PrivateFields, arg, hasArg)
	case strings.EqualFold(name, "public"):
		d.Public = true
	case strings.EqualFold(name, "must-revalidate"):
		d.MustRevalidate = true
	case strings.EqualFold(name, "proxy-revalidate"):
		d.ProxyRevalidate = true
	case strings.EqualFold(name, "must-understand"):
		d.MustUnderstand = true
	case strings.EqualFold(name, "only-if-cached"):
		d.OnlyIfCached = true
	case strings.EqualFold(name, "max-age"):
		d.MaxAge.set(arg)
	case strings.EqualFold(name, "s-maxage"):
		d.SMaxAge.set(arg)
	case strings.EqualFold(name, "min-fresh"):
		d.MinFresh.set(arg)
	case strings.EqualFold(name, "max-stale"):
		if !hasArg && !d.MaxStale.Present { // any staleness will do
			d.MaxStale = Delta{Present: true, Valid: true, Value: MaxDelta}
			return
		}
		d.MaxStale.set(arg)
	case strings.EqualFold(name, "stale-while-revalidate"):
		d.Stale.WhileRevalidate.set(arg)
	case strings.EqualFold(name, "stale-if-error"):
		d.Stale.IfError.set(arg)
	}
}

// restrictOnly looks through what follows an unterminated quote for
// directives that forbid. Freshness found there is not believed.
func (d *Directives) restrictOnly(rest string) {
	for part := range strings.SplitSeq(rest, ",") {
		name, _, _ := strings.Cut(part, "=")
		switch name = strings.ToLower(strings.Trim(name, " \t\"")); name {
		case "no-store", "no-cache", "private", "must-revalidate", "proxy-revalidate":
			d.add(name, "", false)
		}
	}
}

func (v *Delta) set(arg string) {
	if v.Present {
		return
	}
	v.Present = true
	v.Value, v.Valid = parseDelta(arg)
}

// qualify handles no-cache and private, with and without field names. Without
// a name that can be read the directive holds for the whole response.
func qualify(whole *bool, fields []string, arg string, hasArg bool) []string {
	var names []string
	for name := range httpx.Tokens([]string{arg}) {
		if !httpx.IsToken(name) {
			*whole = true
			return fields
		}
		names = append(names, http.CanonicalHeaderKey(name))
	}
	if !hasArg || len(names) == 0 {
		*whole = true
	}
	return append(fields, names...)
}

// parseDelta reads delta-seconds, RFC 9111 section 1.2.2.
func parseDelta(s string) (time.Duration, bool) {
	if s == "" {
		return 0, false
	}
	var n int64
	for i := 0; i < len(s); i++ {
		if s[i] < '0' || s[i] > '9' {
			return 0, false
		}
		if n = n*10 + int64(s[i]-'0'); n > int64(MaxDelta/time.Second) {
			n = int64(MaxDelta / time.Second)
		}
	}
	return time.Duration(n) * time.Second, true
}
