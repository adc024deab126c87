package clientip

import (
	"net/http"
	"net/netip"
	"strings"

	"github.com/headgate/headgate/internal/httpx"
)

// headerFormat is what differs between the headers.
type headerFormat struct {
	single     bool                            // it holds one address, and the rest of the fields is unused
	name       string                          // canonical, as a key of http.Header
	maxElement int                             // bytes; a longer element names no address
	lastComma  func(string) int                // where the last element's separator is, or -1
	address    func(string) (netip.Addr, bool) // whom an element names
}

// X-Forwarded-For: client, proxy1, proxy2. A convention, without a standard.
var xForwardedFor = headerFormat{
	name:       "X-Forwarded-For",
	maxElement: 128, // the longest address with brackets, zone and port is half of it
	lastComma:  func(s string) int { return strings.LastIndexByte(s, ',') },
	address:    parseNode,
}

// formatOf returns how the header of that name is read; false for what is no name.
func formatOf(name string) (headerFormat, bool) {
	switch canonical := http.CanonicalHeaderKey(name); canonical {
	case "", xForwardedFor.name:
		return xForwardedFor, true
	case forwarded.name:
		return forwarded, true
	default:
		return headerFormat{single: true, name: canonical}, httpx.IsToken(name)
	}
}

// singleAddress is the address in a header that holds one; the peer's, where it holds
// none or stands there twice: then the peer has not replaced what a client wrote.
func singleAddress(lines []string, peer netip.Addr) netip.Addr {
	if len(lines) != 1 {
		return peer
	}
	if addr, ok := parseNode(trimSpace(lines[0])); ok {
		return addr
	}
	return peer
}

// fromRight is the address that many places from the right of the list; the peer's,
// where the list has fewer or another thing stands there.
func (f *headerFormat) fromRight(lines []string, hops int, peer netip.Addr) netip.Addr {
	list := elements{format: f, lines: lines, steps: maxSteps}
	var element string
	for range hops {
		var ok bool
		if element, ok = list.previous(); !ok {
			return peer
		}
	}
	if addr, ok := f.address(element); ok {
		return addr
	}
	return peer
}

// maxSteps bounds how many elements, empty ones too, and lines are visited for one
// request. No honest chain of proxies is near it.
const maxSteps = 100

// elements visits a header's elements from the last one to the first, over all its
// lines, as if they were one list.
type elements struct {
	format *headerFormat
	lines  []string // those not begun
	line   string   // what is left of the current one
	steps  int      // how many more are allowed
}

// previous is the next element to the left that is not empty; false at the header's
// start, at an element that is too long, and when the steps are used up.
func (e *elements) previous() (string, bool) {
	for e.steps > 0 {
		e.steps--
		if e.line == "" {
			if len(e.lines) == 0 {
				return "", false
			}
			e.line, e.lines = e.lines[len(e.lines)-1], e.lines[:len(e.lines)-1]
			continue
		}
		element, ok := e.cutLast()
		if !ok {
			return "", false
		}
		if element = trimSpace(element); element != "" {
			return element, true
		}
	}
	return "", false
}

// cutLast takes the last element off the line. It looks at no more than maxElement
// bytes.
func (e *elements) cutLast() (string, bool) {
	start := max(0, len(e.line)-e.format.maxElement)
	comma := e.format.lastComma(e.line[start:])
	if comma >= 0 {
		element := e.line[start+comma+1:]
		e.line = e.line[:start+comma]
		return element, true
	}
	if start > 0 {
		return "", false
	}
	element := e.line
	e.line = ""
	return element, true
}

// trimSpace removes optional white space (RFC 9110 section 5.6.3).
func trimSpace(s string) string { return strings.Trim(s, " \t") }
