package server_test

import (
	"fmt"
	"io"
	"net/http"
	"strings"
	"sync"
	"testing"
	"time"
)

// The cache's own tests go through the RFCs clause by clause. Here a short
// version goes through the whole gateway, which strips, adds and normalises:
// what the cache does right must still be right for clients and apps.

const withHeuristicCache = `
upstreams: {shop: {servers: [%s], retries: 1}}
caches: {x: {heuristic: true}}
defaults: {upstream: shop}
routes:
  - {path: /*, cache: x}
`

// answered is one answer of the app: a status (0: 200), a body and fields as
// "Name: value". A negative status closes the connection instead.
type answered struct {
	status int
	body   string
	fields []string
}

// exchanged is a request and what must come of it.
type exchanged struct {
	method string   // GET
	path   string   // the case's own
	send   []string // fields
	app    answered // what the app says if it is asked

	asked  bool     // the app is asked
	sees   []string // fields that the app gets; "Name: " is none
	status int      // 200
	body   string   // "": not compared
	has    []string // fields that the client gets; "Name: " is none
}

func TestConformanceThroughTheGateway(t *testing.T) {
	t.Parallel()
	const (
		fresh   = "Cache-Control: max-age=3600"
		stale   = "Age: 3601" // together with fresh
		longAgo = "Last-Modified: Sun, 06 Nov 2022 08:49:37 GMT"
	)
	type steps = []exchanged
	answer := func(fields ...string) answered { return answered{fields: fields, body: "first"} }
	second := func(fields ...string) answered { return answered{fields: fields, body: "second"} }
	unchanged := func(fields ...string) answered { return answered{status: 304, fields: fields} }
	cases := map[string]steps{
		"9111 5.1: a hit has Age, and the app's Date and fields": {
			{asked: true, app: answer(fresh, "Date: Sun, 06 Nov 2022 08:49:37 GMT", "CDN-Cache-Control: max-age=999999999", "Foo: 1", `ETag: "a"`, "Expires: Sun, 06 Nov 2022 08:49:38 GMT")},
			{body: "first", has: []string{"Date: Sun, 06 Nov 2022 08:49:37 GMT", "Foo: 1", `ETag: "a"`, "Expires: Sun, 06 Nov 2022 08:49:38 GMT", "CDN-Cache-Control: max-age=999999999", fresh}},
		},
		"9111 4.2.3: Age is counted": {
			{asked: true, app: answer(fresh, stale)},
			{asked: true, app: second(fresh), body: "second"},
		},
		"9111 4.2.1: Expires": {
			{asked: true, app: answer("Expires: " + time.Now().Add(time.Hour).UTC().Format(http.TimeFormat))},
			{body: "first"},
		},
		"9111 4.2.2: a guess where nothing is said": {
			{asked: true, app: answer(longAgo)},
			{body: "first"},
		},
		"9111 3: no-store": {
			{asked: true, app: answer("Cache-Control: no-store", longAgo)},
			{asked: true, app: second(fresh), body: "second"},
		},
		"9111 3.1: fields of the connection are not stored": {
			{asked: true, app: answer(fresh, "Connection: Foo", "Foo: 1", "Keep-Alive: timeout=9", "Proxy-Authenticate: Basic", "Bar: 2")},
			{body: "first", has: []string{"Foo: ", "Bar: 2", "Keep-Alive: ", "Proxy-Authenticate: ", "Connection: "}},
		},
		"9111 4.1: variants": {
			{asked: true, send: []string{"Foo: 1"}, app: answer(fresh, "Vary: Foo")},
			{asked: true, send: []string{"Foo: 2"}, app: second(fresh, "Vary: Foo"), body: "second"},
			{send: []string{"Foo: 1"}, body: "first"},
			{send: []string{"Foo: 2"}, body: "second"},
			{asked: true, app: answered{fields: []string{fresh, "Vary: foo"}, body: "third"}},
			{body: "third"},
		},
		"9111 4.1: fields that the gateway adds or takes are as the app sees them": {
			{asked: true, app: answer(fresh, "Vary: X-Forwarded-Proto, Connection, User-Agent, Host")},
			{body: "first"},
		},
		"9111 4.3.1: validated by both validators": {
			{asked: true, app: answer(fresh, stale, longAgo, `ETag: "a"`, "Foo: 1", "Content-Type: text/x")},
			{asked: true, app: unchanged(fresh, `ETag: "a"`, "Foo: 2"), body: "first", sees: []string{`If-None-Match: "a"`, "If-Modified-Since: Sun, 06 Nov 2022 08:49:37 GMT"},
				has: []string{"Foo: 2", "Content-Length: 5", "Content-Type: text/x"}},
			{body: "first", has: []string{"Foo: 2", "Age: 0"}},
		},
		"9111 3.2: what a 304 updates, and Content-Length alone not": {
			{asked: true, app: answer(fresh, stale, longAgo, "Content-Location: /1", "Content-MD5: 1", "Content-Foo: 1", "X-Frame-Options: deny", "Expires: Sun, 06 Nov 2022 08:49:37 GMT", "A: 1")},
			{asked: true, app: unchanged(fresh, "Content-Location: /2", "Content-MD5: 2", "Content-Foo: 2", "X-Frame-Options: sameorigin", "Expires: Sun, 06 Nov 2022 09:49:37 GMT"), body: "first"},
			{body: "first", has: []string{"Content-Location: /2", "Content-MD5: 2", "Content-Foo: 2", "X-Frame-Options: sameorigin", "Expires: Sun, 06 Nov 2022 09:49:37 GMT", "Content-Length: 5", "A: 1"}},
		},
		"9111 4.3.2: a client's condition is answered": {
			{asked: true, app: answer(fresh, `ETag: W/"a"`, longAgo, "Vary: Foo", "Content-Type: text/x")},
			{send: []string{`If-None-Match: "x", "a"`}, status: 304, has: []string{`ETag: W/"a"`, "Vary: Foo", fresh, "Content-Type: ", "Content-Length: "}},
			{send: []string{`If-None-Match: "x"`}, body: "first"},
			{send: []string{"If-Modified-Since: Sun, 06 Nov 2022 08:49:37 GMT"}, status: 304},
			{send: []string{"If-Modified-Since: Sun, 06 Nov 2022 08:49:36 GMT"}, body: "first"},
		},
		"9110 13.1: a condition that nothing is stored for reaches the app": {
			{asked: true, send: []string{`If-None-Match: "x"`}, sees: []string{`If-None-Match: "x"`}, app: unchanged(fresh, `ETag: "x"`), status: 304},
			{asked: true, app: answer(fresh), body: "first"},
		},
		"9111 5.2.2.4: no-cache is validated each time": {
			{asked: true, app: answer("Cache-Control: no-cache, max-age=3600", `ETag: "a"`)},
			{asked: true, app: unchanged("Cache-Control: no-cache, max-age=3600", `ETag: "a"`), sees: []string{`If-None-Match: "a"`}, body: "first"},
			{asked: true, app: second("Cache-Control: no-cache, max-age=3600", `ETag: "b"`), body: "second"},
		},
		"9110 14: a range of what is stored": {
			{asked: true, app: answer(fresh, `ETag: "a"`)},
			{send: []string{"Range: bytes=1-2"}, status: 206, body: "ir", has: []string{"Content-Range: bytes 1-2/5", "Content-Length: 2", `ETag: "a"`}},
			{send: []string{"Range: bytes=-2"}, status: 206, body: "st"},
			{send: []string{"Range: bytes=9-"}, status: 416, has: []string{"Content-Range: bytes */5"}},
			{send: []string{"Range: bytes=1-2", `If-Range: "b"`}, body: "first"},
		},
		"9111 4: HEAD of what is stored": {
			{asked: true, app: answer(fresh, "Foo: 1")},
			{method: "HEAD", has: []string{"Content-Length: 5", "Foo: 1"}},
		},
		"9111 4.3.5: HEAD freshens": {
			{asked: true, app: answer(fresh, stale, `ETag: "a"`, "Foo: 1")},
			{asked: true, method: "HEAD", app: answered{fields: []string{fresh, `ETag: "a"`, "Foo: 2", "Content-Length: 5"}}, has: []string{"Foo: 2"}},
			{body: "first", has: []string{"Foo: 2"}},
		},
		"9111 4.3.5: HEAD that shows a change": {
			{asked: true, app: answer(fresh, stale, `ETag: "a"`)},
			{asked: true, method: "HEAD", app: answered{fields: []string{fresh, `ETag: "b"`}}},
			{asked: true, sees: []string{"If-None-Match: "}, app: second(fresh), body: "second"},
		},
		"9111 3.5: Authorization": {
			{asked: true, send: []string{"Authorization: Basic eDp5"}, app: answer(fresh)},
			{asked: true, send: []string{"Authorization: Basic eDp5"}, app: second(fresh + ", public"), body: "second"},
			{send: []string{"Authorization: Basic eDp5"}, body: "second"},
		},
		"5861 4: stale-if-error": {
			{asked: true, app: answer("Cache-Control: max-age=3600, stale-if-error=600", stale)},
			{asked: true, app: answered{status: 503}, body: "first"},
		},
		"9111 4.2.4: an app that is away": {
			{asked: true, app: answer(fresh, stale, `ETag: "a"`)},
			{asked: true, app: answered{status: -1}, body: "first"},
		},
		"9111 5.2.2.2: an app that is away, must-revalidate": {
			{asked: true, app: answer("Cache-Control: max-age=3600, must-revalidate", stale, `ETag: "a"`)},
			{asked: true, app: answered{status: -1}, status: 504},
		},
		"9213: CDN-Cache-Control": {
			{asked: true, app: answer("CDN-Cache-Control: max-age=3600", "Cache-Control: no-store")},
			{body: "first", has: []string{"CDN-Cache-Control: max-age=3600", "Cache-Control: no-store"}},
		},
		"9111 5.2.1.7: only-if-cached": {
			{send: []string{"Cache-Control: only-if-cached"}, status: 504},
		},
		"9110 9.3.2: HEAD goes to the app as it is": {
			{asked: true, method: "HEAD", app: answered{fields: []string{fresh, "Content-Length: 77"}}, has: []string{"Content-Length: 77"}},
			{asked: true, app: answer(fresh), body: "first"},
		},
		"9111 4: the query is part of the key, byte for byte": {
			{asked: true, path: "?a=1;b", app: answer(fresh)},
			{path: "?a=1;b", body: "first"},
			{asked: true, path: "?a=1%3Bb", app: second(fresh), body: "second"},
		},
	}
	for method, status := range map[string]int{"POST": 200, "PUT": 204, "DELETE": 303, "M-SEARCH": 200} {
		cases["9111 4.4: "+method] = steps{
			{asked: true, app: answer(fresh)},
			{asked: true, method: method, app: answered{status: status}, status: status},
			{asked: true, app: second(fresh), body: "second"},
		}
		for _, field := range []string{"Location", "Content-Location"} {
			cases["9111 4.4: "+method+", "+field] = steps{
				{asked: true, path: "/a?b", app: answer(fresh)},
				{asked: true, method: method, app: answered{status: status, fields: []string{field + ": PATH/a?b"}}, status: status},
				{asked: true, path: "/a?b", app: second(fresh), body: "second"},
			}
		}
		cases["9111 4.4: "+method+" that fails"] = steps{
			{asked: true, app: answer(fresh)},
			{asked: true, method: method, app: answered{status: 500}, status: 500},
			{body: "first"},
		}
	}
	for _, status := range []int{200, 203, 204, 299, 301, 302, 303, 307, 308, 400, 404, 410, 499, 500, 502, 503, 504, 599} {
		body := "first"
		if status == 204 {
			body = ""
		}
		cases[fmt.Sprintf("9111 3: a fresh %d", status)] = steps{
			{asked: true, app: answered{status, body, []string{fresh, "Location: /y"}}, status: status},
			{status: status, body: body},
		}
		cases[fmt.Sprintf("9111 3: a stale %d", status)] = steps{
			{asked: true, app: answered{status, body, []string{fresh, stale}}, status: status},
			{asked: true, app: second(fresh), body: "second"},
		}
	}
	for _, status := range []int{200, 203, 204, 300, 301, 308, 404, 405, 410, 414, 501} {
		cases[fmt.Sprintf("9111 4.2.2: %d by a guess", status)] = steps{
			{asked: true, app: answered{status: status, fields: []string{longAgo}}, status: status},
			{status: status},
		}
	}
	for _, status := range []int{201, 202, 302, 303, 307, 400, 403, 500, 502, 503, 504, 599} {
		cases[fmt.Sprintf("9111 4.2.2: %d not by a guess", status)] = steps{
			{asked: true, app: answered{status: status, fields: []string{longAgo}}, status: status},
			{asked: true, app: second(fresh), body: "second"},
		}
	}

	script := &scripted{answers: map[string]answered{}, seen: map[string]*http.Request{}}
	g := start(t, fmt.Sprintf(withHeuristicCache, appFunc(t, script.serve).URL))
	for name, steps := range cases {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			base := "/" + strings.Map(func(r rune) rune {
				if r == ' ' || r == ',' || r == ':' {
					return '-'
				}
				return r
			}, name)
			for i, step := range steps {
				script.expect(base, step.app)
				step.check(t, g, script, base, i+1)
			}
		})
	}
}

// scripted is an app that answers each path, and what is below it, as it is told.
type scripted struct {
	mu      sync.Mutex
	answers map[string]answered
	seen    map[string]*http.Request
}

func (s *scripted) expect(base string, a answered) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.answers[base] = a
	delete(s.seen, base)
}

func (s *scripted) serve(w http.ResponseWriter, r *http.Request) {
	base := "/" + strings.Split(r.URL.Path, "/")[1]
	s.mu.Lock()
	a := s.answers[base]
	s.seen[base] = r.Clone(r.Context())
	s.mu.Unlock()
	if a.status < 0 {
		panic(http.ErrAbortHandler)
	}
	for _, field := range a.fields {
		name, value, _ := strings.Cut(field, ": ")
		w.Header().Add(name, strings.ReplaceAll(value, "PATH", base))
	}
	w.WriteHeader(max(a.status, 200))
	io.WriteString(w, a.body)
}

func (s *scripted) asked(base string) *http.Request {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.seen[base]
}

// check makes the exchange and says what came out otherwise.
func (e exchanged) check(t *testing.T, g *gateway, app *scripted, base string, n int) {
	t.Helper()
	if e.method == "" {
		e.method = "GET"
	}
	var headers []string
	for _, field := range e.send {
		name, value, _ := strings.Cut(field, ": ")
		headers = append(headers, name, value)
	}
	a := g.do(e.method, base+e.path, headers...)
	if want := max(e.status, 200); a.StatusCode != want {
		t.Errorf("request %d: status %d, want %d (%s)", n, a.StatusCode, want, a.text)
	}
	r := app.asked(base)
	if (r != nil) != e.asked {
		t.Errorf("request %d: the app was asked: %v, want %v (%s)", n, r != nil, e.asked, a.Header.Values("Cache-Status"))
	}
	if e.body != "" && a.text != e.body {
		t.Errorf("request %d: body %q, want %q", n, a.text, e.body)
	}
	if r == nil && a.StatusCode < 500 && a.Header.Get("Age") == "" {
		t.Errorf("request %d: a stored answer without Age: %v", n, a.Header)
	}
	for _, field := range e.has {
		hasField(t, n, "client", a.Header, field)
	}
	for _, field := range e.sees {
		if r != nil {
			hasField(t, n, "app", r.Header, field)
		}
	}
}

func hasField(t *testing.T, n int, who string, h http.Header, field string) {
	t.Helper()
	name, value, _ := strings.Cut(field, ": ")
	if got := strings.Join(h.Values(name), " | "); got != value {
		t.Errorf("request %d: the %s gets %s: %q, want %q", n, who, name, got, value)
	}
}
