package compress

import (
	"net/http"
	"strings"

	"github.com/headgate/headgate/internal/httpx"
)

// Two encodings of a response are two representations, and have two strong entity tags (RFC 9110 section 8.8.3). The tag of
// an encoded one is the origin's with the coding's name behind it. A tag of the origin's own that ends like that gets
// -identity behind it, so that every tag that a client sends back tells which it was. Weak tags stay as they are.

var marks = [...]httpx.Coding{httpx.Brotli, httpx.Zstd, httpx.Gzip, httpx.Identity}

// markTag returns the entity tag of a response in a coding.
func markTag(tag string, c httpx.Coding) string {
	if !isStrong(tag) || c == httpx.Identity && !isMarked(tag) {
		return tag
	}
	return tag[:len(tag)-1] + "-" + c.String() + `"`
}

// unmarkTag takes the mark from an entity tag. marked is false where it has none.
func unmarkTag(tag string) (own string, c httpx.Coding, marked bool) {
	if !isStrong(tag) {
		return tag, 0, false
	}
	at := strings.LastIndexByte(tag, '-')
	if at < 0 {
		return tag, 0, false
	}
	name := tag[at+1 : len(tag)-1]
	for _, c := range marks {
		if name == c.String() {
			return tag[:at] + `"`, c, true
		}
	}
	return tag, 0, false
}

func isMarked(tag string) bool {
	_, _, marked := unmarkTag(tag)
	return marked
}

func isStrong(tag string) bool { return len(tag) >= 2 && tag[0] == '"' && tag[len(tag)-1] == '"' }

// asked is an entity tag that a client has a response by: the origin's, and the coding of what the client has.
type asked struct {
	tag    string
	coding httpx.Coding
}

// Marked reports whether conditions of a request may have marks, which [Writer.TakeMarks] is to take from them.
func Marked(h http.Header) bool {
	for _, name := range []string{"If-None-Match", "If-Match", "If-Range"} {
		for _, line := range h[name] {
			for tag := range httpx.Members([]string{line}) {
				if isMarked(tag) {
					return true
				}
			}
		}
	}
	return false
}

// TakeMarks changes the conditions of a request to what the origin has said, so that it, or a cache before it, compares them.
// A part that a client has of an encoded response is not continued: the request becomes one for the whole.
func (w *Writer) TakeMarks(h http.Header) {
	if !Marked(h) {
		return
	}
	w.asked = append(w.asked, takeMarks(h, "If-None-Match")...)
	takeMarks(h, "If-Match")
	if lines := h["If-Range"]; len(lines) == 1 {
		switch own, c, marked := unmarkTag(lines[0]); {
		case !marked:
		case c == httpx.Identity:
			h["If-Range"] = []string{own}
		default:
			delete(h, "If-Range")
			delete(h, "Range")
		}
	}
}

func takeMarks(h http.Header, name string) (taken []asked) {
	lines := h[name]
	if len(lines) == 0 {
		return nil
	}
	var tags []string
	for tag := range httpx.Members(lines) {
		own, c, marked := unmarkTag(tag)
		if marked {
			taken = append(taken, asked{own, c})
		}
		tags = append(tags, own)
	}
	h[name] = []string{strings.Join(tags, ", ")}
	return taken
}

// notModified gives a 304 the entity tag that the client has asked by: of the coding that it would be sent now, if it has that.
func (w *Writer) notModified(h http.Header) {
	if w.knows && !w.gains || !w.knows && len(h["Content-Type"]) > 0 && !w.rule.gains(h["Content-Type"][0]) {
		w.markIdentity(h)
		return
	}
	addVary(h) // as the 200 would have
	tags := h["Etag"]
	if len(tags) != 1 {
		return
	}
	has, c := false, httpx.Identity
	for _, a := range w.asked {
		if a.tag == tags[0] && (!has || a.coding == w.coding) {
			has, c = true, a.coding
		}
	}
	if has && c != httpx.Identity {
		h["Etag"] = []string{markTag(tags[0], c)}
		return
	}
	w.markIdentity(h)
}

// markIdentity has a tag of the origin's own that looks like a marked one told from those.
func (w *Writer) markIdentity(h http.Header) {
	if tags := h["Etag"]; len(tags) == 1 && isMarked(tags[0]) {
		h["Etag"] = []string{markTag(tags[0], httpx.Identity)}
	}
}
