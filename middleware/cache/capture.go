package cache

import (
	"net/http"
	"strings"

	"github.com/headgate/headgate/internal/httpx"
	"github.com/headgate/headgate/middleware/cache/internal/collapse"
)

// capture is the http.ResponseWriter that the next handler writes to in a
// fetch. It behaves as net/http's does, 1xx responses, trailers, flushing and
// body lengths included, and hands everything on to the fetch.
type capture struct {
	fetch     *fetch
	header    http.Header
	committed bool
	bodyless  bool // 204, 304: writing is an error
	discard   bool // HEAD: writing does nothing
	announced []string
}

func newCapture(f *fetch) *capture {
	return &capture{fetch: f, header: make(http.Header), discard: f.sends == sendHead}
}

func (w *capture) Header() http.Header { return w.header }

func (w *capture) WriteHeader(status int) {
	if w.committed {
		return
	}
	if status >= 100 && status < 200 {
		w.fetch.f.PassInterim(collapse.Interim{Status: status, Header: w.header.Clone()})
		return
	}
	w.committed = true
	w.bodyless = status == http.StatusNoContent || status == http.StatusNotModified
	for name := range httpx.Tokens(w.header["Trailer"]) {
		w.announced = append(w.announced, http.CanonicalHeaderKey(name))
	}
	head := w.header.Clone()
	for _, name := range w.announced {
		delete(head, name) // a trailer's value, set early, is no header's
	}
	for name := range head {
		if strings.HasPrefix(name, http.TrailerPrefix) {
			delete(head, name)
		}
	}
	w.fetch.onHead(status, head)
}

func (w *capture) Write(p []byte) (int, error) {
	if !w.committed {
		w.WriteHeader(http.StatusOK)
	}
	switch {
	case w.bodyless:
		return 0, http.ErrBodyNotAllowed
	case w.discard:
		return len(p), nil
	}
	return w.fetch.onBody(p)
}

// WriteString spares io.WriteString a copy.
func (w *capture) WriteString(s string) (int, error) { return w.Write([]byte(s)) }

// Flush implements http.Flusher.
func (w *capture) Flush() {
	if !w.committed {
		w.WriteHeader(http.StatusOK)
	}
	w.fetch.onFlush()
}

// trailer gives the trailers, announced and not, once the handler is done.
func (w *capture) trailer() http.Header {
	var t http.Header
	add := func(name string, values []string) {
		if t == nil {
			t = make(http.Header)
		}
		t[name] = values
	}
	for _, name := range w.announced {
		if values := w.header[name]; len(values) > 0 {
			add(name, values)
		}
	}
	for name, values := range w.header {
		if trimmed, ok := strings.CutPrefix(name, http.TrailerPrefix); ok {
			add(trimmed, values)
		}
	}
	return t
}
