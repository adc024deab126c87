package compress_test

import (
	"bufio"
	"bytes"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync/atomic"
	"testing"

	"github.com/andybalholm/brotli"
	"github.com/klauspost/compress/gzip"
	"github.com/klauspost/compress/zstd"
	"github.com/labstack/echo/v4"

	"github.com/headgate/headgate/internal/httpx"
	"github.com/headgate/headgate/middleware/compress"
)

// text is a body that gains.
var text = strings.Repeat("one of the many words of a body that gains by it\n", 300)

// harness is an Echo app with the middleware, behind a real server.
type harness struct {
	t       testing.TB
	server  *httptest.Server
	client  *http.Client
	handler atomic.Pointer[echo.HandlerFunc]
}

func newHarness(t testing.TB, o compress.Options) *harness {
	h := &harness{t: t, client: &http.Client{Transport: &http.Transport{DisableCompression: true}}}
	e := echo.New()
	e.Use(compress.Middleware(o))
	e.Any("/*", func(c echo.Context) error { return (*h.handler.Load())(c) })
	h.server = httptest.NewServer(e)
	t.Cleanup(func() {
		h.client.CloseIdleConnections()
		h.server.Close()
	})
	return h
}

func (h *harness) handle(f echo.HandlerFunc) { h.handler.Store(&f) }

// serves has the app answer the same each time, with fields as "Name: value".
func (h *harness) serves(body string, fields ...string) {
	h.handle(func(c echo.Context) error {
		setFields(c.Response().Header(), fields)
		_, err := io.WriteString(c.Response(), body)
		return err
	})
}

func setFields(h http.Header, fields []string) {
	for _, f := range fields {
		name, value, _ := strings.Cut(f, ": ")
		h.Add(name, value)
	}
}

type answer struct {
	*http.Response
	t    testing.TB
	body []byte
}

func (h *harness) get(fields ...string) *answer { return h.do("GET", fields...) }

func (h *harness) do(method string, fields ...string) *answer {
	h.t.Helper()
	req, err := http.NewRequest(method, h.server.URL+"/", nil)
	if err != nil {
		h.t.Fatal(err)
	}
	setFields(req.Header, fields)
	res, err := h.client.Do(req)
	if err != nil {
		h.t.Fatal(err)
	}
	defer res.Body.Close()
	body, err := io.ReadAll(res.Body)
	if err != nil {
		h.t.Fatal(err)
	}
	return &answer{res, h.t, body}
}

// text is the body without its coding.
func (a *answer) text() string {
	a.t.Helper()
	decoded, err := io.ReadAll(reader(a.t, a.Header.Get("Content-Encoding"), bytes.NewReader(a.body)))
	if err != nil {
		a.t.Errorf("%s: %v", a.Header.Get("Content-Encoding"), err)
	}
	return string(decoded)
}

func reader(t testing.TB, coding string, r io.Reader) io.Reader {
	t.Helper()
	var err error
	switch coding {
	case "br":
		return brotli.NewReader(r)
	case "gzip":
		r, err = gzip.NewReader(r)
	case "zstd":
		r, err = zstd.NewReader(r, zstd.WithDecoderConcurrency(1))
	}
	if err != nil {
		t.Fatal(err)
	}
	return r
}

func TestWhatIsCompressed(t *testing.T) {
	t.Parallel()
	h := newHarness(t, compress.Options{})
	for contentType, want := range map[string]bool{
		"text/html": true, "Text/HTML; charset=utf-8": true, "application/json": true, "application/problem+json": true, "image/svg+xml": true,
		"application/a+b+json": true, "application/wasm": true, "font/ttf": true, "application/javascript": true,
		"image/png": false, "font/woff2": false, "video/mp4": false, "application/zip": false, "text/event-stream": false, "text": false,
		"application/grpc": false, "application/grpc+json": false, "application/grpc-web+json": false, "multipart/x-mixed-replace": false, "": false, "application/octet-stream": false,
	} {
		h.serves(text, "Content-Type: "+contentType)
		a := h.get("Accept-Encoding: gzip")
		if got := a.Header.Get("Content-Encoding") == "gzip"; got != want || a.text() != text || want != (a.Header.Get("Vary") == "Accept-Encoding") {
			t.Errorf("%q: %v", contentType, a.Header)
		}
	}
	for fields, want := range map[string]bool{
		"Content-Encoding: deflate": false, "Content-Range: bytes 0-1/2": false, "Cache-Control: max-age=1, No-Transform": false,
		"Cache-Control: private": false, `Cache-Control: private="a, b"`: false, "Cache-Control: no-store": false, "Set-Cookie: a=b": false,
		"Content-Digest: x": false, "Repr-Digest: x": false, "Content-Md5: x": false, "Digest: x": false, "Trailer: X, Content-Digest": false,
		"Cache-Control: public, max-age=1": true, `Cache-Control: x="no-transform"`: true, "Vary: Foo": true, "Vary: *": true,
	} {
		h.serves(text, "Content-Type: text/plain", fields)
		if a := h.get("Accept-Encoding: zstd"); want != (a.Header.Get("Content-Encoding") == "zstd") {
			t.Errorf("%s: %v", fields, a.Header)
		}
	}
	h.serves(text, "Content-Type: text/plain")
	for _, field := range []string{"Authorization: Basic x", "Cookie: a=b", "X-Api-Key: x", "Cache-Control: no-transform"} {
		if a := h.get("Accept-Encoding: br", field); a.Header.Get("Content-Encoding") != "" || a.Header.Get("Vary") != "Accept-Encoding" {
			t.Errorf("%s: %v", field, a.Header)
		}
	}
	private := newHarness(t, compress.Options{Compression: compress.Compression{Private: true, Types: []string{"text/event-stream"}, Min: 10}})
	private.serves(text, "Content-Type: text/event-stream", "Set-Cookie: a=b", "Cache-Control: private")
	if a := private.get("Accept-Encoding: br", "Cookie: a=b"); a.Header.Get("Content-Encoding") != "br" {
		t.Errorf("private and a listed type: %v", a.Header)
	}
}

func TestStatusesAndHEAD(t *testing.T) {
	t.Parallel()
	h := newHarness(t, compress.Options{})
	for status, want := range map[int]bool{200: true, 404: true, 503: true, 201: true, 204: false, 304: false, 206: false} {
		h.handle(func(c echo.Context) error {
			setFields(c.Response().Header(), []string{"Content-Type: text/plain", `ETag: "a"`, "Accept-Ranges: bytes"})
			c.Response().WriteHeader(status)
			if status != 204 && status != 304 {
				_, _ = io.WriteString(c.Response(), text)
			}
			return nil
		})
		a, head := h.get("Accept-Encoding: gzip"), h.do("HEAD", "Accept-Encoding: gzip")
		if got := a.Header.Get("Content-Encoding") == "gzip"; got != want || a.StatusCode != status || want != (a.Header.Get("Etag") == `"a-gzip"`) || want == (a.Header.Get("Accept-Ranges") != "") {
			t.Errorf("%d: %d, %v", status, a.StatusCode, a.Header)
		}
		for _, name := range []string{"Content-Encoding", "Etag", "Vary", "Accept-Ranges"} {
			if a.Header.Get(name) != head.Header.Get(name) {
				t.Errorf("%d: %s is %q for HEAD, %q for GET", status, name, head.Header.Get(name), a.Header.Get(name))
			}
		}
	}
}

func TestEntityTags(t *testing.T) {
	t.Parallel()
	h := newHarness(t, compress.Options{})
	var asked atomic.Value
	for _, own := range []string{`"abc"`, `W/"abc"`, `"abc-gzip"`, `"abc-identity"`, `"-br"`, `""`} {
		h.handle(func(c echo.Context) error {
			req := c.Request()
			asked.Store(req.Header.Get("If-None-Match") + req.Header.Get("If-Match"))
			setFields(c.Response().Header(), []string{"Content-Type: text/plain", "ETag: " + own})
			if req.Header.Get("If-None-Match") == own {
				return c.NoContent(304)
			}
			_, err := io.WriteString(c.Response(), text)
			return err
		})
		tags := map[string]bool{}
		for _, accepts := range []string{"gzip", "br", "zstd", ""} {
			a := h.get("Accept-Encoding: " + accepts)
			tag := a.Header.Get("Etag")
			if tags[tag] && own[0] == '"' {
				t.Errorf("%s with %q is %s, which another encoding is", own, accepts, tag)
			}
			tags[tag] = true
			for _, now := range []string{accepts, "gzip"} {
				if a := h.get("Accept-Encoding: "+now, "If-None-Match: "+tag); a.StatusCode != 304 || a.Header.Get("Etag") != tag || a.Header.Get("Vary") != "Accept-Encoding" {
					t.Errorf("%s, sent as %s: %d, %v", own, tag, a.StatusCode, a.Header)
				}
			}
			h.do("PUT", "If-Match: "+tag)
			if got := asked.Load(); got != own {
				t.Errorf("If-Match: %s became %s, want %s", tag, got, own)
			}
		}
	}
	h.handle(func(c echo.Context) error {
		asked.Store(fmt.Sprint(c.Request().Header["If-None-Match"], c.Request().Header["If-Range"], c.Request().Header["Range"]))
		return c.NoContent(204)
	})
	for fields, want := range map[string]string{
		`If-None-Match: "a-gzip", W/"b-br", "c"`:        `["a", W/"b-br", "c"] [] []`,
		`If-None-Match: *`:                              `[*] [] []`,
		`If-None-Match: "a,b-br"`:                       `["a,b"] [] []`,
		"Range: bytes=0-9\n" + `If-Range: "a-br"`:       `[] [] []`,
		"Range: bytes=0-9\n" + `If-Range: "a"`:          `[] ["a"] [bytes=0-9]`,
		"Range: bytes=0-9\n" + `If-Range: "a-identity"`: `[] ["a"] [bytes=0-9]`,
	} {
		h.get(strings.Split(fields, "\n")...)
		if got := asked.Load(); got != want {
			t.Errorf("%s: the handler sees %s, want %s", fields, got, want)
		}
	}
}

// What has been flushed is there for the client, before the next is written.
func TestFlush(t *testing.T) {
	t.Parallel()
	h := newHarness(t, compress.Options{})
	next := make(chan bool)
	h.handle(func(c echo.Context) error {
		c.Response().Header().Set("Content-Type", "text/plain")
		c.Response().Flush() // the head alone
		for i := range 3 {
			<-next
			fmt.Fprintf(c.Response(), "line %d\n", i)
			c.Response().Flush()
		}
		return nil
	})
	for _, coding := range []string{"gzip", "br", "zstd", ""} {
		req, _ := http.NewRequest("GET", h.server.URL, nil)
		req.Header.Set("Accept-Encoding", coding)
		res, err := h.client.Do(req)
		if err != nil {
			t.Fatal(err)
		}
		defer res.Body.Close()
		next <- true
		lines := bufio.NewReader(reader(t, res.Header.Get("Content-Encoding"), res.Body))
		for i := range 3 {
			if line, err := lines.ReadString('\n'); err != nil || line != fmt.Sprintf("line %d\n", i) {
				t.Fatalf("%s: line %d is %q, %v", coding, i, line, err)
			}
			if i < 2 {
				next <- true
			}
		}
		if res.Header.Get("Content-Encoding") != coding {
			t.Errorf("%s: %v", coding, res.Header)
		}
	}
}

// A handler that fails within its response does not have it taken for the whole.
func TestFailureWithinAResponse(t *testing.T) {
	t.Parallel()
	h := newHarness(t, compress.Options{})
	h.handle(func(c echo.Context) error {
		c.Response().Header().Set("Content-Type", "text/plain")
		_, _ = io.WriteString(c.Response(), text)
		return errors.New("something broke")
	})
	a := h.get("Accept-Encoding: gzip")
	if decoded, err := io.ReadAll(reader(t, "gzip", io.MultiReader(bytes.NewReader(a.body), strings.NewReader("")))); err == nil {
		t.Errorf("%d bytes look whole", len(decoded))
	}
	h.handle(func(c echo.Context) error { return echo.NewHTTPError(418, text) })
	if a := h.get("Accept-Encoding: gzip"); a.StatusCode != 418 || a.Header.Get("Content-Encoding") != "" {
		t.Errorf("an error without a response: %d, %v", a.StatusCode, a.Header)
	}
}

// stuck is a client that reads nothing more until it is let go.
type stuck struct {
	http.ResponseWriter
	writing, letGo chan bool
}

func (s stuck) Write([]byte) (int, error) {
	s.writing <- true
	<-s.letGo
	return 0, errors.New("the client has left")
}

// Clients that read slowly take no more encoders than there is memory for; others are answered all the same, and the encoders
// are free when the clients have left.
func TestSlowClientsAndAbortedOnes(t *testing.T) {
	t.Parallel()
	encoders := compress.NewEncoders(4 << 20)
	rule, err := compress.Compile(compress.Compression{}, encoders)
	if err != nil {
		t.Fatal(err)
	}
	req := httptest.NewRequest("GET", "/", nil)
	req.Header.Set("Accept-Encoding", "br")
	letGo, writing, done := make(chan bool), make(chan bool), make(chan bool)
	begin := func(inner http.ResponseWriter) *compress.Writer {
		w := rule.NewWriter(inner, req, false)
		w.Header().Set("Content-Type", "text/plain")
		w.Header().Set("Content-Length", fmt.Sprint(1<<30))
		w.WriteHeader(200)
		return w
	}
	slow := 0
	for {
		w := begin(stuck{httptest.NewRecorder(), writing, letGo})
		if w.Header().Get("Content-Encoding") == "" {
			if w.Header().Get("Vary") != "Accept-Encoding" || w.Header().Get("Content-Length") == "" {
				t.Errorf("without an encoder: %v", w.Header())
			}
			w.Release()
			break
		}
		slow++
		go func() {
			_, _ = io.WriteString(w, text)
			_ = w.FlushError()
			w.Abort()
			w.Release()
			done <- true
		}()
		<-writing
	}
	if used := encoders.InUse(); slow < 2 || used > 4<<20 {
		t.Errorf("%d responses take %d bytes", slow, used)
	}
	rec := httptest.NewRecorder()
	w := rule.NewWriter(rec, req, false)
	w.Header().Set("Content-Type", "text/plain")
	_, _ = io.WriteString(w, text)
	if err := w.End(); err != nil || rec.Body.String() != text {
		t.Errorf("another client: %v, %d bytes", err, rec.Body.Len())
	}
	w.Release()
	close(letGo)
	for range slow {
		<-done
	}
	if used := encoders.InUse(); used != 0 {
		t.Errorf("%d bytes are in use when all have left", used)
	}
	if w := begin(httptest.NewRecorder()); w.Header().Get("Content-Encoding") != "br" {
		t.Errorf("afterwards: %v", w.Header())
	} else {
		w.Abort()
		w.Release()
	}
}

func TestEncode(t *testing.T) {
	t.Parallel()
	encoders := compress.NewEncoders(0)
	body := [][]byte{[]byte(text[:5000]), []byte(text[5000:])}
	for _, coding := range []httpx.Coding{httpx.Brotli, httpx.Zstd, httpx.Gzip} {
		for _, level := range []compress.Level{compress.Fast, compress.Stored, compress.Best} {
			chunks, size, ok := encoders.Encode(coding, level, body)
			joined := bytes.Join(chunks, nil)
			decoded, err := io.ReadAll(reader(t, coding.String(), bytes.NewReader(joined)))
			if !ok || err != nil || string(decoded) != text || int64(len(joined)) != size || size > 2000 {
				t.Errorf("%v at level %d: %d bytes, %v, %v", coding, level, size, ok, err)
			}
		}
		if chunks, _, ok := encoders.Encode(coding, compress.Stored, [][]byte{[]byte("too short to gain")}); chunks != nil || !ok {
			t.Errorf("%v: what is not shorter is kept", coding)
		}
	}
	if used := encoders.InUse(); used != 0 {
		t.Errorf("%d bytes are in use", used)
	}
}

func BenchmarkStream(b *testing.B) {
	rule, err := compress.Compile(compress.Compression{}, compress.NewEncoders(0))
	if err != nil {
		b.Fatal(err)
	}
	for _, coding := range []string{"br", "zstd", "gzip", "identity"} {
		b.Run(coding, func(b *testing.B) {
			req := httptest.NewRequest("GET", "/", nil)
			req.Header.Set("Accept-Encoding", coding)
			b.SetBytes(int64(len(text)))
			b.ReportAllocs()
			for b.Loop() {
				w := rule.NewWriter(httptest.NewRecorder(), req, false)
				w.Header().Set("Content-Type", "text/plain")
				_, _ = io.WriteString(w, text)
				_ = w.End()
				w.Release()
			}
		})
	}
}
