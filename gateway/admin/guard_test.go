package admin_test

import (
	"net/http"
	"net/http/httptest"
	"testing"

	"github.com/headgate/headgate/gateway/admin"
	"github.com/prometheus/client_golang/prometheus"
)

func ready() admin.Health { return admin.Health{} }

func request(h http.Handler, method, target, host string, headers ...string) *httptest.ResponseRecorder {
	r := httptest.NewRequest(method, target, nil)
	r.Host = host
	for i := 0; i+1 < len(headers); i += 2 {
		r.Header.Add(headers[i], headers[i+1])
	}
	w := httptest.NewRecorder()
	h.ServeHTTP(w, r)
	return w
}

func TestWithoutATokenOnlyLocalProgramsGetIn(t *testing.T) {
	h := admin.New(admin.Options{Health: ready, Gatherer: prometheus.NewRegistry()})
	for name, tc := range map[string]struct {
		host    string
		headers []string
		want    int
	}{
		"curl on the machine":          {"127.0.0.1:9901", nil, 200},
		"by name":                      {"localhost:9901", nil, 200},
		"by name, with the root's dot": {"LOCALHOST.:9901", nil, 200},
		"IPv6":                         {"[::1]:9901", nil, 200},
		"IPv6 without port":            {"[::1]", nil, 200},
		"typed into a browser":         {"localhost:9901", []string{"Sec-Fetch-Site", "none"}, 200},
		"DNS rebinding":                {"evil.example:9901", nil, 403},
		"a name that looks like it":    {"127.0.0.1.evil.example", nil, 403},
		"no host":                      {"", nil, 403},
		"another site's form":          {"127.0.0.1:9901", []string{"Origin", "https://evil.example"}, 403},
		"even its own origin":          {"127.0.0.1:9901", []string{"Origin", "http://127.0.0.1:9901"}, 403},
		"an opaque origin":             {"127.0.0.1:9901", []string{"Origin", "null"}, 403},
		"another site's image":         {"127.0.0.1:9901", []string{"Sec-Fetch-Site", "cross-site"}, 403},
		"another port's page":          {"127.0.0.1:9901", []string{"Sec-Fetch-Site", "same-site"}, 403},
	} {
		t.Run(name, func(t *testing.T) {
			if w := request(h, "GET", "/metrics", tc.host, tc.headers...); w.Code != tc.want {
				t.Errorf("%d, want %d: %s", w.Code, tc.want, w.Body)
			}
		})
	}
}

func TestWithATokenItAloneCounts(t *testing.T) {
	h := admin.New(admin.Options{Token: "s3cret", Health: ready, Gatherer: prometheus.NewRegistry()})
	for name, tc := range map[string]struct {
		path    string
		headers []string
		want    int
	}{
		"the token":              {"/metrics", []string{"Authorization", "Bearer s3cret"}, 200},
		"the scheme in any case": {"/metrics", []string{"Authorization", "bearer s3cret"}, 200},
		"from a page":            {"/metrics", []string{"Authorization", "Bearer s3cret", "Origin", "https://ops.example"}, 200},
		"none":                   {"/metrics", nil, 401},
		"another":                {"/metrics", []string{"Authorization", "Bearer s3cres"}, 401},
		"another scheme":         {"/metrics", []string{"Authorization", "Basic s3cret"}, 401},
		"liveness needs none":    {"/livez", nil, 200},
		"readiness needs none":   {"/readyz", nil, 200},
		"its details do":         {"/readyz?verbose", nil, 401},
	} {
		t.Run(name, func(t *testing.T) {
			if w := request(h, "GET", tc.path, "gateway.internal:9901", tc.headers...); w.Code != tc.want {
				t.Errorf("%d, want %d: %s", w.Code, tc.want, w.Body)
			}
		})
	}
}
