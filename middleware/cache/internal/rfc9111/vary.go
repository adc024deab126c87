package rfc9111

import (
	"crypto/sha256"
	"encoding/binary"
	"net/http"
	"slices"
	"strings"

	"github.com/headgate/headgate/internal/httpx"
)

// maxVary bounds the fields that one response may vary on. More are no
// attempt at content negotiation.
const maxVary = 32

// Selector is one field of a stored response's Vary with the value, normalised,
// that the request which fetched it had. A field that was absent is not a
// field that was empty.
type Selector struct {
	Name    string
	Value   string
	Present bool
	Raw     string // one value that normalises to it: most requests send that
}

// VaryNames gives the fields that a response varies on, canonical, sorted,
// each once. ok is false if no other request can be known to select it:
// "Vary: *" in any company (RFC 9111 section 4.1), or a name that is none.
func VaryNames(h http.Header) (names []string, ok bool) {
	for name := range httpx.Tokens(h["Vary"]) {
		if name == "*" || !httpx.IsToken(name) {
			return nil, false
		}
		names = append(names, http.CanonicalHeaderKey(name))
		if len(names) > maxVary {
			return nil, false
		}
	}
	// An encoded body is for those who accept the encoding, said or unsaid.
	if encoded(h) {
		names = append(names, "Accept-Encoding")
	}
	slices.Sort(names)
	return slices.Compact(names), true
}

func encoded(h http.Header) bool {
	for _, line := range h["Content-Encoding"] {
		if line = httpx.TrimOWS(line); line != "" && !strings.EqualFold(line, "identity") {
			return true
		}
	}
	return false
}

// SelectorsOf computes the selecting header fields of a request.
func SelectorsOf(names []string, field func(name string) []string) []Selector {
	if len(names) == 0 {
		return nil
	}
	s := make([]Selector, len(names))
	for i, name := range names {
		values := field(name)
		// Copies: a server may keep a request's whole head for as long as one value of it is held.
		s[i] = Selector{Name: name, Value: strings.Clone(normalField(name, values)), Present: len(values) > 0}
		if len(values) == 1 {
			s[i].Raw = strings.Clone(values[0])
		}
	}
	return s
}

// Selects reports whether a request selects a response with these selectors.
func Selects(selectors []Selector, field func(name string) []string) bool {
	for i := range selectors {
		s := &selectors[i]
		values := field(s.Name)
		if (len(values) > 0) != s.Present {
			return false
		}
		if len(values) == 1 && (values[0] == s.Raw || values[0] == s.Value) {
			continue
		}
		if text, ok := strings.CutPrefix(s.Value, asText); ok {
			if normalMembers(values, true, true) != text {
				return false
			}
			continue
		}
		if s.Name == "Accept-Encoding" {
			var space [maxCodings]byte
			if normal, ok := appendCodings(space[:0], values); ok {
				if string(normal) != s.Value {
					return false
				}
				continue
			}
		}
		if normalField(s.Name, values) != s.Value {
			return false
		}
	}
	return true
}

// maxCodings is more than the normal form of an Accept-Encoding is long, in bytes.
const maxCodings = 128

// appendCodings brings Accept-Encoding to a form that all fields of the same
// meaning have. It is not ok for a field that is malformed or too long.
func appendCodings(b []byte, values []string) (normal []byte, ok bool) {
	if size(values) > maxNormalised {
		return b, false
	}
	accepted := httpx.ParseAcceptEncoding(values)
	if !accepted.WellFormed {
		return b, false
	}
	return accepted.AppendNormal(b), true
}

// asText begins the value of an Accept-Encoding that is compared as text: that of a response in
// a coding which appendCodings leaves out, as it is not registered. No field begins like that.
const asText = "\x00"

// compareAsText changes the selectors of a response that is in a coding which is not registered.
func compareAsText(selectors []Selector, field func(name string) []string, codings []string) {
	for coding := range httpx.Tokens(codings) {
		if _, known := httpx.CodingOf(coding); known {
			continue
		}
		for i := range selectors {
			if s := &selectors[i]; s.Name == "Accept-Encoding" {
				s.Value = asText + normalMembers(field(s.Name), true, true)
			}
		}
	}
}

func size(values []string) (n int) {
	for _, v := range values {
		n += len(v)
	}
	return n
}

// normalField brings a field to the form in which it is compared, within what
// RFC 9111 section 4.1 allows: lines are combined and the space around list
// members goes; in negotiation fields, letter case goes too, and the order of
// members where the field's definition gives it no meaning; of Accept-Encoding
// the meaning alone is left. Values that normalise alike are idempotent:
// normalising twice changes nothing.
func normalField(name string, values []string) string {
	if size(values) > maxNormalised {
		return strings.Join(values, "\n")
	}
	fold, reorder := false, false
	switch name {
	case "Accept-Encoding":
		if normal, ok := appendCodings(nil, values); ok {
			return string(normal)
		}
		return strings.Join(values, "\n") // what it means is the origin's to say
	case "Accept-Language":
		fold, reorder = true, true
	case "Accept", "Accept-Charset":
		// Accept may hold quoted, case-sensitive parameters; media types with
		// a quote in them are left as they are.
		fold = !strings.Contains(strings.Join(values, ","), `"`)
	case "Cookie", "Authorization", "User-Agent", "Referer", "Origin":
		return strings.Join(values, "\n") // no lists
	}
	if len(values) == 1 && !fold && !strings.ContainsAny(values[0], ", \t") {
		return values[0]
	}
	return normalMembers(values, fold, reorder)
}

// normalMembers combines the members of a list, without the space around them.
func normalMembers(values []string, fold, reorder bool) string {
	members := slices.Collect(httpx.Members([]string{strings.Join(values, ",")}))
	for i, m := range members {
		if fold {
			m = strings.ToLower(m)
		}
		if reorder { // parameters: "en; q=0.5" is "en;q=0.5", and "en;q=1.0" is "en"
			m = strings.Map(dropSpace, m)
			if value, q, ok := httpx.Weighted(m); ok && q == 1000 && strings.Count(m, ";") == 1 && strings.Contains(m, ";q=") {
				m = value
			}
		}
		members[i] = m
	}
	if reorder {
		slices.Sort(members)
	}
	return strings.Join(members, ",")
}

// maxNormalised bounds the work on a field, in bytes: longer ones are compared
// as they are.
const maxNormalised = 4 << 10

func dropSpace(r rune) rune {
	if r == ' ' || r == '\t' {
		return -1
	}
	return r
}

// VariantID names a variant inside its resource.
type VariantID [16]byte

// VariantOf hashes selectors; the zero VariantID is a response without Vary.
func VariantOf(selectors []Selector) (id VariantID) {
	if len(selectors) == 0 {
		return id
	}
	var b []byte
	for i := range selectors {
		b = appendText(b, selectors[i].Name)
		b = appendText(b, selectors[i].Value)
		if selectors[i].Present {
			b = append(b, 1)
		} else {
			b = append(b, 0)
		}
	}
	b = binary.BigEndian.AppendUint32(b, uint32(len(selectors)))
	sum := sha256.Sum256(b)
	copy(id[:], sum[:])
	return id
}

// appendText writes a text behind its length, so that no two lists of texts
// are written alike.
func appendText(b []byte, s string) []byte {
	b = binary.BigEndian.AppendUint32(b, uint32(len(s)))
	return append(b, s...)
}

// VariantFor is the variant that a request selects among responses that vary
// on the fields of vary.
func VariantFor(vary []Selector, field func(name string) []string) VariantID {
	if len(vary) == 0 {
		return VariantID{}
	}
	names := make([]string, len(vary))
	for i := range vary {
		names[i] = vary[i].Name
	}
	return VariantOf(SelectorsOf(names, field))
}
