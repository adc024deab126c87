package server_test

import (
	"fmt"
	"net/http"
	"strings"
	"sync/atomic"
	"testing"
)

// What a client asks for, what an operator purges and what an app names in Location is one path, however it is written.
func TestAPurgeNamesThePathThatWasAskedFor(t *testing.T) {
	t.Parallel()
	var n atomic.Int64
	app := appFunc(t, func(w http.ResponseWriter, r *http.Request) {
		if r.Method == http.MethodPost {
			w.Header().Set("Location", r.Header.Get("X-Changed"))
			w.WriteHeader(http.StatusCreated)
			return
		}
		fmt.Fprintf(w, "answer %d", n.Add(1))
	})
	g := start(t, fmt.Sprintf(withCache, "", app.URL))
	cached := func(target string) bool {
		return strings.Contains(g.do("GET", target, "Host", "shop.example").Header.Get("Cache-Status"), "hit")
	}
	for _, tt := range []struct{ asked, named string }{
		{"/top/q[1]", "/top/q[1]"},
		{"/top/q%5B2%5D", "/top/q[2]"},
		{"/top/q[3]", "/top/q%5b3%5D"},
		{"/top/a|b", "/top/a|b"},
		{"/top//x/../%7Ey", "/top/~y"},
		{"/top/ä", "/top/%C3%A4"},
		{"/top/q;v=1", "/top/q;v=1"},
	} {
		for how, purge := range map[string]func() int{
			"url": func() int {
				return g.adminSend("POST", "/purge", strings.NewReader(`{"url": "http://SHOP.example:80`+tt.named+`"}`), "Authorization", "Bearer operator").StatusCode
			},
			"prefix": func() int {
				return g.adminSend("POST", "/purge", strings.NewReader(`{"prefix": "http://shop.example.`+tt.named+`"}`), "Authorization", "Bearer operator").StatusCode
			},
			"Location": func() int {
				return g.do("POST", "/top/new", "Host", "shop.example", "X-Changed", tt.named).StatusCode
			},
		} {
			if cached(tt.asked); !cached(tt.asked) {
				t.Fatalf("%s is not cached", tt.asked)
			}
			if status := purge(); status/100 != 2 {
				t.Fatalf("%s of %s: %d", how, tt.named, status)
			}
			if cached(tt.asked) {
				t.Errorf("%s of %s leaves %s", how, tt.named, tt.asked)
			}
		}
	}
	// The parameters of a segment do not count in matching, but an app may answer by them.
	cached("/top/p;v=1")
	if cached("/top/p;v=2") || cached("/top/p") {
		t.Error("paths with other parameters have one cached answer")
	}
	if a := g.adminSend("POST", "/purge", strings.NewReader(`{"url": "http://shop.example/top/p"}`), "Authorization", "Bearer operator"); a.StatusCode/100 != 2 {
		t.Fatal(a.StatusCode)
	}
	if cached("/top/p") || !cached("/top/p;v=1") {
		t.Error("a purge does not go by the path as it was sent")
	}
}

func TestWhatIsNoPurgeIsRefused(t *testing.T) {
	t.Parallel()
	g := start(t, fmt.Sprintf(withCache, "", app(t, "a").URL))
	for body, want := range map[string]int{
		`{"tag": "products"}`:                             204,
		`{"tag": "products"} ` + "\n":                     204,
		`{"tag": "products"}{"all": true}`:                400,
		`{"tag": "products"} x`:                           400,
		`{"tag": "products", "all": true}`:                400,
		`{"tags": "products"}`:                            400,
		`["products"]`:                                    400,
		`{"tag": "` + strings.Repeat("a", 100<<10) + `"}`: 400,
		`{"tag": "` + strings.Repeat("a", 2<<20) + `"}`:   413,
		``: 400,
	} {
		a := g.adminSend("POST", "/purge", strings.NewReader(body), "Authorization", "Bearer operator")
		if a.StatusCode != want {
			t.Errorf("%.60s: %d %s", body, a.StatusCode, a.text)
		}
	}
}

func TestAProfileTakesABoundedTime(t *testing.T) {
	t.Parallel()
	g := start(t, fmt.Sprintf(withCache, "", app(t, "a").URL))
	for seconds, want := range map[string]int{"1000000": 400, "301": 400, "-1": 400, "0": 400, "NaN": 400, "many": 400, "0.001": 200} {
		for _, kind := range []string{"profile", "trace", "heap"} {
			if kind != "trace" && seconds == "0.001" {
				continue // they take whole seconds, and 30 where there are none
			}
			a := g.adminSend("GET", "/debug/pprof/"+kind+"?seconds="+seconds, nil, "Authorization", "Bearer operator")
			if a.StatusCode != want {
				t.Errorf("%s of %s seconds: %d", kind, seconds, a.StatusCode)
			}
		}
	}
}
