package server_test

import (
	"bufio"
	"compress/gzip"
	"fmt"
	"io"
	"net/http"
	"strings"
	"sync/atomic"
	"testing"

	"github.com/andybalholm/brotli"
	"github.com/headgate/headgate/gateway/pipeline"
)

const withCompress = `
server: {listen: "127.0.0.1:0", admin: {listen: "127.0.0.1:0"}}
upstreams: {shop: {servers: [%s], retries: 0}}
session: {cookie: {secure: false}}
clients: {acme: {key_sha256: 5e884898da28047151d0e56f8dc6292773603d0d6aabbdd62a11ef721d1542d8}}
caches: {pages: {ttl: 60s, ignore_cookies: [theme]}}
defaults: {upstream: shop, compress: on}
routes:
  - {path: /cached/*, cache: pages}
  - {path: /private/*, compress: {private: true}}
  - {path: /events/*, compress: {types: [text/event-stream]}}
  - {path: /off, compress: off}
  - {path: /fixed, respond: {body: "%s"}}
  - {path: /*}
`

// gains is a body that gains by compression.
var gains = strings.Repeat("one of the many words of a page. ", 200)

// expectBody fails unless an answer has this encoding, and then this body.
func (a *answer) expectBody(t testing.TB, what, encoding, body string) {
	t.Helper()
	var r io.Reader = strings.NewReader(a.text)
	switch got := a.Header.Get("Content-Encoding"); {
	case got != encoding:
		t.Errorf("%s: Content-Encoding %q, want %q", what, got, encoding)
		return
	case got == "br":
		r = brotli.NewReader(r)
	case got == "gzip":
		var err error
		if r, err = gzip.NewReader(r); err != nil {
			t.Errorf("%s: %v", what, err)
			return
		}
	}
	if text, err := io.ReadAll(r); err != nil || string(text) != body {
		t.Errorf("%s: %d bytes, %v; want %d", what, len(text), err, len(body))
	}
}

func TestAnswersAreCompressed(t *testing.T) {
	t.Parallel()
	var asked atomic.Value
	shop := appFunc(t, func(w http.ResponseWriter, r *http.Request) {
		asked.Store(r.Header.Get("Accept-Encoding"))
		h := w.Header()
		h.Set("Content-Type", "text/html")
		h.Set("Etag", `"1"`)
		if r.Header.Get("If-None-Match") == `"1"` {
			w.WriteHeader(304)
			return
		}
		h.Set("Content-Length", fmt.Sprint(len(gains)))
		switch r.URL.Path {
		case "/cookie":
			h.Set("Set-Cookie", "a=b")
		case "/personal":
			h.Set("Cache-Control", "private")
		case "/encoded":
			h.Set("Content-Encoding", "zstd")
		case "/notransform":
			h.Set("Cache-Control", "no-transform")
		case "/gone":
			w.WriteHeader(404)
		}
		io.WriteString(w, gains)
	})
	g := start(t, fmt.Sprintf(withCompress, shop.URL, gains))
	const br = "Accept-Encoding"
	for _, tc := range []struct {
		path, encoding string
		fields         []string
	}{
		{"/x", "br", nil},
		{"/x?cookie", "", []string{"Cookie", "login=1"}},
		{"/x?authorization", "", []string{"Authorization", "Basic eDp5"}},
		{"/x?key", "", []string{"X-API-Key", "password"}},
		{"/x?odd", "", []string{"X-API-Key", "odd"}},
		{"/x?no-transform", "", []string{"Cache-Control", "no-transform"}},
		{"/cookie", "", nil},
		{"/personal", "", nil},
		{"/notransform", "", nil},
		{"/encoded", "zstd", nil},
		{"/gone", "br", nil},
		{"/off", "", nil},
		{"/fixed", "br", nil},
		{"/private/x", "br", []string{"Cookie", "login=1"}},
		{"/cached/x", "br", []string{"Cookie", "theme=dark"}},
		{"/cached/x?login", "", []string{"Cookie", "theme=dark; login=1"}},
	} {
		a := g.do("GET", tc.path, append([]string{br, "gzip, br"}, tc.fields...)...)
		if tc.path == "/encoded" {
			if a.text != gains || a.Header.Get("Content-Encoding") != "zstd" || a.Header.Get("Etag") != `"1"` {
				t.Errorf("what the app has encoded: %v", a.Header)
			}
			continue
		}
		a.expectBody(t, tc.path, tc.encoding, gains)
		eligible := tc.path != "/off" && tc.path != "/cookie" && tc.path != "/personal" && tc.path != "/notransform"
		if vary := a.Header.Get("Vary"); eligible != (vary == "Accept-Encoding") {
			t.Errorf("%s: Vary %q", tc.path, vary)
		}
		if encoded := tc.encoding != "" && tc.path != "/fixed"; encoded != (a.Header.Get("Etag") == `"1-br"`) {
			t.Errorf("%s: ETag %s", tc.path, a.Header.Get("Etag"))
		}
		head := g.do("HEAD", tc.path, append([]string{br, "gzip, br"}, tc.fields...)...)
		for _, name := range []string{"Content-Encoding", "Etag", "Vary", "Content-Type"} {
			if !strings.HasPrefix(tc.path, "/cached") && head.Header.Get(name) != a.Header.Get(name) {
				t.Errorf("%s: %s is %q for HEAD, and %q for GET", tc.path, name, head.Header.Get(name), a.Header.Get(name))
			}
		}
		want := "gzip, br"
		if strings.HasPrefix(tc.path, "/cached") {
			want = "identity"
		}
		if got := asked.Load(); got != want && tc.path != "/fixed" {
			t.Errorf("%s: the app is asked for %q, want %q", tc.path, got, want)
		}
	}
	if a := g.do("GET", "/x", br, "br", "If-None-Match", `"1-br"`); a.StatusCode != 304 || a.Header.Get("Etag") != `"1-br"` || a.Header.Get("Vary") != "Accept-Encoding" {
		t.Errorf("a condition about an encoded answer: %d, %v", a.StatusCode, a.Header)
	}
	if a := g.do("GET", "/x"); a.text != gains || a.Header.Get("Vary") != "Accept-Encoding" || a.ContentLength != int64(len(gains)) {
		t.Errorf("no Accept-Encoding: %v", a.Header)
	}
	if text := g.admin("GET", "/metrics").text; !strings.Contains(text, `headgate_compressed_responses_total{encoding="br"}`) || !strings.Contains(text, `headgate_compressed_bytes_total{encoding="br",when="before"}`) {
		t.Error("the metrics have no compressed responses")
	}
}

// An event arrives before the next one is made, through a route that compresses everything, and through one that compresses event
// streams themselves.
func TestEventArrivesThroughACompressedRoute(t *testing.T) {
	t.Parallel()
	more := make(chan bool)
	shop := appFunc(t, func(w http.ResponseWriter, r *http.Request) {
		w.Header().Set("Content-Type", "text/event-stream")
		if strings.HasSuffix(r.URL.Path, "json") {
			w.Header().Set("Content-Type", "application/x-ndjson")
		}
		for i := range 3 {
			fmt.Fprintf(w, "data: %d\n\n", i)
			http.NewResponseController(w).Flush()
			select {
			case <-more: // the client has it
			case <-r.Context().Done():
				return
			}
		}
	})
	g := start(t, fmt.Sprintf(withCompress, shop.URL, gains))
	for path, encoding := range map[string]string{"/stream": "", "/events/stream": "gzip", "/lines.json": "gzip"} {
		req, err := http.NewRequest("GET", "http://"+g.Addr()+path, nil)
		if err != nil {
			t.Fatal(err)
		}
		req.Header.Set("Accept-Encoding", "gzip")
		res, err := http.DefaultTransport.RoundTrip(req)
		if err != nil {
			t.Fatal(err)
		}
		defer res.Body.Close()
		var r io.Reader = res.Body
		if got := res.Header.Get("Content-Encoding"); got != encoding {
			t.Fatalf("%s: Content-Encoding %q", path, got)
		}
		if encoding != "" {
			if r, err = gzip.NewReader(r); err != nil {
				t.Fatal(err)
			}
		}
		lines := bufio.NewReader(r)
		for i := range 3 {
			line, err := lines.ReadString('\n')
			if err != nil || line != fmt.Sprintf("data: %d\n", i) {
				t.Fatalf("%s: event %d is %q, %v", path, i, line, err)
			}
			lines.ReadString('\n')
			more <- true
		}
		if rest, err := io.ReadAll(lines); err != nil || len(rest) > 0 {
			t.Errorf("%s: the end is %q, %v", path, rest, err)
		}
	}
}

func TestExplainSaysHowAnAnswerIsCompressed(t *testing.T) {
	t.Parallel()
	g := start(t, fmt.Sprintf(withCompress, "http://127.0.0.1:9", gains))
	for _, tc := range []struct {
		url  string
		h    http.Header
		want string
	}{
		{"/x", http.Header{"Accept-Encoding": {"gzip, br"}}, "br, where the answer's type and length are for it"},
		{"/cached/x", http.Header{"Accept-Encoding": {"gzip;q=1, br;q=0.5"}, "Cookie": {"theme=dark"}}, "gzip, where the answer's type and length are for it; the app server is asked for identity, which is what is cached"},
		{"/x", nil, "no: the client accepts none of br, zstd and gzip, or prefers identity"},
		{"/x", http.Header{"Accept-Encoding": {"br"}, "Cookie": {"login=1"}}, "no: the answer may hold a user's secrets, and compress.private is false"},
		{"/x", http.Header{"Accept-Encoding": {"br"}, "X-Api-Key": {"password"}}, "no: the answer may hold a user's secrets, and compress.private is false"},
		{"/private/x", http.Header{"Accept-Encoding": {"br"}, "Cookie": {"login=1"}}, "br, where the answer's type and length are for it"},
		{"/x", http.Header{"Accept-Encoding": {"br"}, "Cache-Control": {"no-transform"}}, "no: the request says no-transform"},
		{"/off", http.Header{"Accept-Encoding": {"br"}}, ""},
		{"/fixed", http.Header{"Accept-Encoding": {"zstd"}}, "zstd, where the answer's type and length are for it"},
	} {
		e, err := g.Explain(t.Context(), pipeline.Question{URL: tc.url, Header: tc.h})
		if err != nil || e.Compress != tc.want {
			t.Errorf("%s with %v: %q, want %q (%v)", tc.url, tc.h, e.Compress, tc.want, err)
		}
	}
}

// An answer that breaks off is cut off for the client too, compressed or not.
func TestAnAnswerThatBreaksOffIsNotCompletedByCompression(t *testing.T) {
	t.Parallel()
	shop := appFunc(t, func(w http.ResponseWriter, r *http.Request) {
		w.Header().Set("Content-Type", "text/html")
		io.WriteString(w, gains)
		http.NewResponseController(w).Flush()
		panic(http.ErrAbortHandler)
	})
	g := start(t, fmt.Sprintf(withCompress, shop.URL, gains))
	for _, path := range []string{"/x", "/cached/x"} {
		for range 3 {
			req, err := http.NewRequest("GET", "http://"+g.Addr()+path, nil)
			if err != nil {
				t.Fatal(err)
			}
			req.Header.Set("Accept-Encoding", "gzip")
			res, err := http.DefaultTransport.RoundTrip(req)
			if err != nil {
				continue // cut off before its head was sent
			}
			body, err := io.ReadAll(res.Body)
			res.Body.Close()
			if err == nil {
				t.Errorf("%s: %d bytes look whole", path, len(body))
			}
		}
	}
}
