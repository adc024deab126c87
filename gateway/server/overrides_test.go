package server_test

import (
	"fmt"
	"io"
	"net/http"
	"slices"
	"strings"
	"testing"
)

// poisons are request fields by which frameworks, libraries and servers make out a URL, a scheme or a method. No cache key has
// them: an app that heeds one from a client would have its answer to that client served to everyone.
var poisons = []string{
	"X-Host", "X-HTTP-Host-Override", "X-Original-Host", "X-Backend-Host", "Base-Url", "X-Proxy-URL", "X-Method-Override",
	"X-Url-Scheme", "Front-End-Https", "Proxy", "X-Scheme", "X-Original-Method", "X-Forwarded-Ssl", "X-Forwarded-Server",
	"X-Script-Name", "X-Sendfile-Type", "X-Accel-Mapping", "Https",
}

func TestFieldsThatNoKeyHasReachNoApp(t *testing.T) {
	t.Parallel()
	// The app says which values of a client have reached it, in its headers or, where there is a body, its trailers.
	shop := appFunc(t, func(w http.ResponseWriter, r *http.Request) {
		_, _ = io.Copy(io.Discard, r.Body)
		w.Header().Set("Vary", "X-Host")
		for _, section := range []http.Header{r.Header, r.Trailer} {
			for name, values := range section {
				if slices.Contains(values, "evil") {
					fmt.Fprintln(w, name)
				}
			}
		}
	})
	g := start(t, fmt.Sprintf(h2cServer, "")+fmt.Sprintf(`
upstreams: {shop: {servers: [%s]}}
caches: {pages: {ttl: 1m}}
defaults: {upstream: shop}
routes:
  - {name: cached, path: /cached/*, cache: pages}
  - {name: plain, path: /*}
`, shop.URL))
	for _, protocol := range []string{"http/1.1", "h2c"} {
		client := clientOf(t, protocol)
		for _, name := range poisons {
			for _, spelling := range []string{name, strings.ToUpper(name), strings.ReplaceAll(name, "-", "_"), strings.ReplaceAll(name, "-", ".")} {
				for _, path := range []string{"/cached/" + spelling + "/" + protocol[:2], "/plain"} {
					sent := http.Header{spelling: {"evil"}, "Innocent": {"evil"}}
					if got := reached(t, client, "GET", "http://"+g.Addr()+path, sent, nil); got != "Innocent\n" {
						t.Errorf("%s: GET %s with %s: the app got %q", protocol, path, spelling, got)
					}
				}
				trailer := http.Header{spelling: {"evil"}, "Innocent": {"evil"}}
				if got := reached(t, client, "POST", "http://"+g.Addr()+"/plain", nil, trailer); got != "Innocent\n" {
					t.Errorf("%s: a trailer with %s: the app got %q", protocol, spelling, got)
				}
			}
		}
	}
}

// A client does not choose among stored variants by what the app never gets.
func TestVaryOnAFieldThatReachesNoAppSelectsNothing(t *testing.T) {
	t.Parallel()
	shop := appFunc(t, func(w http.ResponseWriter, _ *http.Request) { w.Header().Set("Vary", "X-Host") })
	g := start(t, fmt.Sprintf(h2cServer, "")+fmt.Sprintf(`
upstreams: {shop: {servers: [%s]}}
caches: {pages: {ttl: 1m}}
routes: [{name: all, path: /*, upstream: shop, cache: pages}]
`, shop.URL))
	g.do("GET", "/")
	if got := g.do("GET", "/", "X-Host", "evil").Header.Get("Cache-Status"); !strings.Contains(got, "hit") {
		t.Errorf("Cache-Status: %s", got)
	}
}

// reached sends a request with these fields and trailer fields, and returns what the app answers.
func reached(t *testing.T, client *http.Client, method, url string, header, trailer http.Header) string {
	t.Helper()
	r, err := http.NewRequest(method, url, nil)
	if err != nil {
		t.Fatal(err)
	}
	if header != nil {
		r.Header = header
	}
	if trailer != nil {
		r.Trailer, r.Body, r.ContentLength = trailer, io.NopCloser(strings.NewReader("body")), -1
	}
	res, err := client.Do(r)
	if err != nil {
		t.Fatal(err)
	}
	defer res.Body.Close()
	text, err := io.ReadAll(res.Body)
	if err != nil {
		t.Fatal(err)
	}
	return string(text)
}
