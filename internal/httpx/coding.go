package httpx

import "strings"

// Coding is a content coding that is registered and in use (RFC 9110 section 8.4.1).
type Coding uint8

const (
	Identity Coding = iota // no coding at all
	Brotli
	Compress
	DictionaryBrotli
	DictionaryZstd
	Deflate
	Gzip
	Zstd
	codings
)

var codingNames = [codings]string{"identity", "br", "compress", "dcb", "dcz", "deflate", "gzip", "zstd"}

// Codings is how many there are: those below it have names, in their order.
const Codings = int(codings)

func (c Coding) String() string { return codingNames[c] }

// CodingOf returns the coding of that name, in any case. x-gzip and x-compress are other names (RFC 9110 section 8.4.1).
func CodingOf(name string) (c Coding, known bool) {
	switch {
	case EqualFold(name, "x-gzip"):
		return Gzip, true
	case EqualFold(name, "x-compress"):
		return Compress, true
	}
	for c, known := range codingNames {
		if EqualFold(name, known) {
			return Coding(c), true
		}
	}
	return 0, false
}

// AcceptEncoding is what an Accept-Encoding field says of each coding (RFC 9110 section 12.5.3).
type AcceptEncoding struct {
	// Sent: there is such a field. Without one, any coding is acceptable.
	Sent bool
	// WellFormed: every member of it is a coding with a weight, and none is there twice with two weights.
	WellFormed bool

	weights [codings]Quality
	named   [codings]bool
	rest    Quality // of *
	star    bool
}

// ParseAcceptEncoding reads the lines of a field. A member whose weight is malformed says nothing; of two weights for one
// coding the lower counts.
func ParseAcceptEncoding(lines []string) AcceptEncoding {
	a := AcceptEncoding{Sent: len(lines) > 0, WellFormed: true}
	for _, line := range lines {
		for more := true; more; {
			var member string
			if member, line, more = strings.Cut(line, ","); TrimOWS(member) != "" {
				a.add(member)
			}
		}
	}
	return a
}

func (a *AcceptEncoding) add(member string) {
	name, q, ok := Weighted(member)
	if !ok || !IsToken(name) || !onlyWeight(member) {
		a.WellFormed = false
	}
	if !ok {
		return
	}
	weight, named := &a.rest, &a.star
	if name != "*" {
		c, known := CodingOf(name)
		if !known {
			return
		}
		weight, named = &a.weights[c], &a.named[c]
	}
	if *named && *weight != q {
		a.WellFormed = false
		q = min(q, *weight)
	}
	*weight, *named = q, true
}

// onlyWeight reports whether a member has no parameter but its weight.
func onlyWeight(member string) bool {
	_, parameters, found := strings.Cut(member, ";")
	if !found {
		return true
	}
	parameters = TrimOWS(parameters)
	return len(parameters) > 2 && parameters[0]|0x20 == 'q' && parameters[1] == '=' && strings.IndexByte(parameters, ';') < 0
}

// Quality returns the weight of a coding; 0 is not acceptable. explicit reports whether the field names it, itself or
// by *: identity is acceptable without that, and then ranks behind all that is named.
func (a *AcceptEncoding) Quality(c Coding) (q Quality, explicit bool) {
	switch {
	case a.named[c]:
		return a.weights[c], true
	case a.star:
		return a.rest, true
	case c == Identity || !a.Sent:
		return 1000, false
	}
	return 0, false
}

// AppendNormal appends a field that says the same in one form, which a well-formed field of the same meaning has too, and
// of which it is the normal form again: the codings that are acceptable, the preferred ones first, weights evenly spaced.
// Codings without a name here are left out. Identity stands in it where it is named before
// another coding, or not acceptable.
func (a *AcceptEncoding) AppendNormal(b []byte) []byte {
	start, weight := len(b), Quality(1000)
	for ceiling := Quality(1001); ; weight -= 100 {
		next := Quality(0) // the highest weight that has not been written
		for c := range codings {
			if q, explicit := a.Quality(c); explicit && q < ceiling {
				next = max(next, q)
			}
		}
		if next == 0 {
			break
		}
		last := a.ranksLast(next)
		for c := range codings {
			q, explicit := a.Quality(c)
			if explicit && q == next && (c != Identity || !last) {
				b = appendMember(b, start, c, weight)
			}
		}
		ceiling = next
	}
	if q, _ := a.Quality(Identity); q == 0 {
		b = appendMember(b, start, Identity, 0)
	}
	return b
}

// ranksLast reports whether identity alone has this weight and no coding a lower one: where identity is not named, it
// ranks there too.
func (a *AcceptEncoding) ranksLast(weight Quality) bool {
	for c := Identity + 1; c < codings; c++ {
		if q, explicit := a.Quality(c); explicit && q > 0 && q <= weight {
			return false
		}
	}
	return true
}

func appendMember(b []byte, start int, c Coding, weight Quality) []byte {
	if len(b) > start {
		b = append(b, ',')
	}
	b = append(b, codingNames[c]...)
	switch weight {
	case 1000:
	case 0:
		b = append(b, ";q=0"...)
	default:
		b = append(b, ";q=0."...)
		b = append(b, '0'+byte(weight/100))
	}
	return b
}
