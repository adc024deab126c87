package observe

import (
	"maps"
	"net/http"
	"net/netip"
	"slices"
	"strconv"
	"strings"
	"unicode/utf8"
)

// LogOptions say what the lines of an access log look like. The zero value is JSON with all fields.
type LogOptions struct {
	Combined bool     // as Apache's and nginx' combined, instead of JSON
	Mask     []string // query parameters whose values are hidden
	Add      []string // fields besides: header:NAME, trace_id, span_id
	Drop     []string // fields that are left out, of those that [Droppable] names
}

// LogFormat writes records as lines of an access log. It does not change, and is safe for concurrent use.
type LogFormat struct {
	combined bool
	mask     *QueryMask
	added    []addedField
	dropped  []func(*Record)
}

// addedField is a field that an operator has added.
type addedField struct {
	name string // in the line
	of   func(http.Header) string
}

// Droppable lists the fields that can be left out, sorted.
func Droppable() []string { return slices.Sorted(maps.Keys(droppable)) }

// NewLogFormat returns the format of the options. Names that it does not know are ignored: policies are checked before.
func NewLogFormat(o LogOptions) *LogFormat {
	f := &LogFormat{combined: o.Combined, mask: NewQueryMask(o.Mask)}
	for _, name := range o.Add {
		if of := fieldOf(name); of != nil {
			f.added = append(f.added, addedField{strings.ToLower(strings.NewReplacer(":", "_", "-", "_").Replace(name)), of})
		}
	}
	for _, name := range o.Drop {
		if drop := droppable[name]; drop != nil {
			f.dropped = append(f.dropped, drop)
		}
	}
	return f
}

func fieldOf(name string) func(http.Header) string {
	switch name {
	case "trace_id":
		return func(h http.Header) string { trace, _ := traceOf(h); return trace }
	case "span_id":
		return func(h http.Header) string { _, span := traceOf(h); return span }
	}
	header, ok := strings.CutPrefix(name, "header:")
	if !ok {
		return nil
	}
	header = http.CanonicalHeaderKey(header)
	return func(h http.Header) string { return strings.Join(h[header], ", ") }
}

// traceOf reads the trace and the caller's span of a traceparent header (W3C Trace Context); "" where it is none.
func traceOf(h http.Header) (trace, span string) {
	lines := h["Traceparent"]
	if len(lines) != 1 {
		return "", ""
	}
	parts := strings.Split(lines[0], "-")
	if len(parts) < 4 || len(parts[0]) != 2 || parts[0] == "ff" || parts[0] == "00" && len(parts) > 4 {
		return "", ""
	}
	if trace, span = parts[1], parts[2]; !isHexID(trace, 32) || !isHexID(span, 16) {
		return "", ""
	}
	return trace, span
}

// isHexID reports whether a text is so many hexadecimal digits in lower case, not all of them zero.
func isHexID(s string, digits int) bool {
	return len(s) == digits && strings.Trim(s, "0123456789abcdef") == "" && strings.Trim(s, "0") != ""
}

// droppable has, for each field that can be left out, what removes it from a record.
var droppable = map[string]func(*Record){
	"id":             func(e *Record) { e.ID = "" },
	"client_ip":      func(e *Record) { e.ClientIP = "" },
	"method":         func(e *Record) { e.Method = "" },
	"host":           func(e *Record) { e.Host = "" },
	"uri":            func(e *Record) { e.URI = "" },
	"proto":          func(e *Record) { e.Proto = "" },
	"route":          func(e *Record) { e.Route = "" },
	"upstream":       func(e *Record) { e.Upstream = "" },
	"denied_network": func(e *Record) { e.Denied = netip.Prefix{} },
	"limit":          func(e *Record) { e.Limit = "" },
	"dry_run":        func(e *Record) { e.DryRun = "" },
	"limit_wait_ms":  func(e *Record) { e.Waited = 0 },
	"cache":          func(e *Record) { e.Cache = "" },
	"encoding":       func(e *Record) { e.Encoding = "" },
	"queue":          func(e *Record) { e.Queue = "" },
	"job":            func(e *Record) { e.Job = "" },
	"attempt":        func(e *Record) { e.Attempt = 0 },
	"client":         func(e *Record) { e.Client = "" },
	"user":           func(e *Record) { e.User = "" },
	"session":        func(e *Record) { e.Session = "" },
	"plan":           func(e *Record) { e.Plan = "" },
	"login":          func(e *Record) { e.Login = false },
	"user_agent":     func(e *Record) { e.UserAgent = "" },
	"referer":        func(e *Record) { e.Referer = "" },
	"error":          func(e *Record) { e.Error = "" },
}

// Collect notes in the record what the format adds of the request's headers.
func (f *LogFormat) Collect(e *Record, request http.Header) {
	if len(f.added) == 0 {
		return
	}
	e.Added = make([]string, len(f.added))
	for i, field := range f.added {
		e.Added[i] = field.of(request)
	}
}

// Mask is what the format hides; nil: nothing.
func (f *LogFormat) Mask() *QueryMask { return f.mask }

// Append appends the record's line, with what it hides hidden.
func (f *LogFormat) Append(b []byte, e *Record) []byte {
	e = e.Masked(f.mask)
	if len(f.dropped) > 0 {
		shown := *e
		for _, drop := range f.dropped {
			drop(&shown)
		}
		e = &shown
	}
	if f.combined {
		return e.appendCombined(b)
	}
	b = e.AppendJSON(b)
	if len(e.Added) == 0 {
		return b
	}
	b = b[:len(b)-len("}\n")]
	for i, value := range e.Added {
		b = appendField(b, f.added[i].name, f.mask.Apply(value))
	}
	return append(b, '}', '\n')
}

const combinedTime = "02/Jan/2006:15:04:05 -0700"

// appendCombined appends the record as Apache and nginx write it:
//
//	192.0.2.1 - 42 [02/Jan/2006:15:04:05 +0000] "GET /x HTTP/1.1" 200 2326 "referer" "user agent"
func (e *Record) appendCombined(b []byte) []byte {
	b = appendWord(b, e.ClientIP)
	b = append(b, " - "...)
	b = appendWord(b, e.User)
	b = append(b, " ["...)
	b = e.Time.UTC().AppendFormat(b, combinedTime)
	b = append(b, `] "`...)
	if e.Method != "" && e.URI != "" {
		b = appendEscaped(b, e.Method, "")
		b = append(b, ' ')
		b = appendEscaped(b, e.URI, "")
		if e.Proto != "" {
			b = append(b, ' ')
			b = append(b, e.Proto...)
		}
	} else {
		b = append(b, '-') // refused before it was a request
	}
	b = append(b, `" `...)
	b = strconv.AppendInt(b, int64(e.Status), 10)
	b = append(b, ' ')
	b = strconv.AppendInt(b, e.Bytes, 10)
	b = append(b, ` "`...)
	b = appendEscaped(b, orDash(e.Referer), "")
	b = append(b, `" "`...)
	b = appendEscaped(b, orDash(e.UserAgent), "")
	return append(b, '"', '\n')
}

func orDash(s string) string {
	if s == "" {
		return "-"
	}
	return s
}

// appendWord appends a value that stands without quotes.
func appendWord(b []byte, s string) []byte { return appendEscaped(b, orDash(s), " []") }

// appendEscaped appends a value with \xHH in the place of quotation marks, backslashes, what is not UTF-8, control characters, and the
// characters that are given.
func appendEscaped(b []byte, s, more string) []byte {
	if len(s) > maxLogField {
		s = s[:maxLogField]
	}
	for i := 0; i < len(s); {
		r, size := utf8.DecodeRuneInString(s[i:])
		if c := s[i]; c == '"' || c == '\\' || c < 0x20 || c == 0x7f || r == utf8.RuneError && size == 1 || strings.IndexByte(more, c) >= 0 {
			const hex = "0123456789abcdef"
			b = append(b, '\\', 'x', hex[c>>4], hex[c&15])
		} else {
			b = append(b, s[i:i+size]...)
		}
		i += size
	}
	return b
}
