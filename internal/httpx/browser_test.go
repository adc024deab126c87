package httpx_test

import (
	"net/http"
	"testing"

	"github.com/headgate/headgate/internal/httpx"
)

func TestQualityValues(t *testing.T) {
	t.Parallel()
	for s, want := range map[string]httpx.Quality{
		"0": 0, "1": 1000, "0.5": 500, "0.25": 250, "0.001": 1, "1.000": 1000, "0.": 0, "1.": 1000,
		"": -1, "2": -1, "1.1": -1, "1.001": -1, ".5": -1, "-1": -1, "0.0001": -1, "0.x": -1, "0,5": -1, "00": -1, "1 ": -1,
	} {
		if q, ok := httpx.ParseQuality(s); ok != (want >= 0) || ok && q != want {
			t.Errorf("%q: %d, %v; want %d", s, q, ok, want)
		}
	}
}

func TestWhoIsABrowser(t *testing.T) {
	t.Parallel()
	const firefox = "text/html,application/xhtml+xml,application/xml;q=0.9,*/*;q=0.8"
	for _, tt := range []struct {
		name string
		h    http.Header
		want bool
	}{
		{"says nothing", http.Header{}, false},
		{"an old browser", http.Header{"Accept": {firefox}}, true},
		{"curl", http.Header{"Accept": {"*/*"}}, false},
		{"an API client", http.Header{"Accept": {"application/json"}}, false},
		{"prefers JSON", http.Header{"Accept": {"application/json, text/html;q=0.9"}}, false},
		{"has no preference", http.Header{"Accept": {"application/json, text/html"}}, true},
		{"over two lines", http.Header{"Accept": {"application/json;q=0.5", "TEXT/HTML;q=0.6"}}, true},
		{"refuses HTML", http.Header{"Accept": {"text/html;q=0"}}, false},
		{"refuses everything", http.Header{"Accept": {"text/html;q=0, */*;q=0"}}, false},
		{"HTML of a kind", http.Header{"Accept": {`text/html;level=1;Q=0.7, text/plain;q=0.7`}}, true},
		{"a parameter that looks like q", http.Header{"Accept": {`text/html;x=";q=0", */*;q=0.1`}}, true},
		{"a broken weight says nothing", http.Header{"Accept": {"text/html;q=high"}}, false},
		{"HTML in another value", http.Header{"Accept": {`application/json;profile="text/html"`}}, false},
		{"navigates", http.Header{"Sec-Fetch-Mode": {"navigate"}, "Accept": {"*/*"}}, true},
		{"a script's fetch", http.Header{"Sec-Fetch-Mode": {"cors"}, "Accept": {firefox}}, false},
		{"metadata without a mode", http.Header{"Sec-Fetch-Site": {"none"}, "Accept": {firefox}}, false},
	} {
		if got := httpx.IsBrowser(tt.h); got != tt.want {
			t.Errorf("%s: %v", tt.name, got)
		}
	}
}

func TestWhatIsAPreflight(t *testing.T) {
	t.Parallel()
	origin, asks := []string{"https://a.example"}, []string{"PUT"}
	for _, tt := range []struct {
		name, method string
		h            http.Header
		want         string
	}{
		{"preflight", "OPTIONS", http.Header{"Origin": origin, "Access-Control-Request-Method": asks}, "PUT"},
		{"another method", "GET", http.Header{"Origin": origin, "Access-Control-Request-Method": asks}, ""},
		{"no origin", "OPTIONS", http.Header{"Access-Control-Request-Method": asks}, ""},
		{"an empty origin", "OPTIONS", http.Header{"Origin": {""}, "Access-Control-Request-Method": asks}, ""},
		{"asks for nothing", "OPTIONS", http.Header{"Origin": origin}, ""},
		{"two origins", "OPTIONS", http.Header{"Origin": {"https://a.example", "https://b.example"}, "Access-Control-Request-Method": asks}, ""},
		{"asks for two", "OPTIONS", http.Header{"Origin": origin, "Access-Control-Request-Method": {"PUT", "GET"}}, ""},
	} {
		if got := httpx.PreflightFor(tt.method, tt.h); got != tt.want {
			t.Errorf("%s: %q, want %q", tt.name, got, tt.want)
		}
	}
}
