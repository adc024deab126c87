package ratelimit_test

import (
	"encoding/json"
	"net/http"
	"net/http/httptest"
	"net/netip"
	"reflect"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/dunglas/httpsfv"
	"github.com/headgate/headgate/middleware/clientip"
	"github.com/headgate/headgate/middleware/ratelimit"
	"github.com/labstack/echo/v4"
	"pgregory.net/rapid"
)

// app is an Echo app under limits, whose handler answers 200.
func app(o ratelimit.Options, before ...echo.MiddlewareFunc) *echo.Echo {
	return appOf(append(before, ratelimit.Middleware(o))...)
}

// appWith is app with options of the middleware.
func appWith(t *testing.T, o ratelimit.Options, m ratelimit.MiddlewareOptions) *echo.Echo {
	t.Helper()
	l, err := ratelimit.New(o)
	if err != nil {
		t.Fatal(err)
	}
	return appOf(l.Middleware(m))
}

func appOf(middleware ...echo.MiddlewareFunc) *echo.Echo {
	e := echo.New()
	e.Use(middleware...)
	e.Any("/*", func(c echo.Context) error { return c.String(http.StatusOK, "hello") })
	return e
}

func do(e *echo.Echo, method, path string, edits ...func(*http.Request)) *httptest.ResponseRecorder {
	r := httptest.NewRequest(method, path, nil)
	for _, edit := range edits {
		edit(r)
	}
	w := httptest.NewRecorder()
	e.ServeHTTP(w, r)
	return w
}

func peer(addr string) func(*http.Request) { return func(r *http.Request) { r.RemoteAddr = addr } }

func TestTheHundredAndFirstRequestIsDeniedAndAnotherAddressGoesOn(t *testing.T) {
	t.Parallel()
	backends(t, func(t *testing.T, c *ratelimit.Counters) {
		for _, a := range algorithms {
			e := app(ratelimit.Options{Counters: c, Limits: []ratelimit.Limit{limit("per-ip", a, 100, 24*time.Hour)}})
			for i := range 105 {
				want := http.StatusOK
				if i >= 100 {
					want = http.StatusTooManyRequests
				}
				if w := do(e, "GET", "/"); w.Code != want {
					t.Fatalf("%s: request %d: %d", a, i+1, w.Code)
				}
			}
			if w := do(e, "GET", "/", peer("198.51.100.7:1")); w.Code != http.StatusOK {
				t.Fatalf("%s: another address: %d", a, w.Code)
			}
		}
	})
}

func TestADenialSaysWhyAndWhenToComeBack(t *testing.T) {
	t.Parallel()
	e := appWith(t, ratelimit.Options{
		Limits: []ratelimit.Limit{limit("per-minute", ratelimit.FixedWindow, 1, time.Minute), limit("per-hour", ratelimit.FixedWindow, 1, time.Hour), limit("wide", ratelimit.FixedWindow, 9, time.Hour)},
	}, ratelimit.MiddlewareOptions{
		CORS: func(h http.Header, r *http.Request) { h.Set("Access-Control-Allow-Origin", r.Header.Get("Origin")) },
	})
	do(e, "GET", "/")
	for _, when := range []string{"decided", "remembered"} {
		w := do(e, "GET", "/", func(r *http.Request) { r.Header.Set("Origin", "https://shop.example") })
		h := w.Header()
		for name, want := range map[string]string{
			"Retry-After": "3600", "Cache-Control": "no-store", "Content-Type": "application/problem+json",
			"Access-Control-Allow-Origin": "https://shop.example", "Content-Length": strconv.Itoa(w.Body.Len()),
			"RateLimit-Policy": `"per-minute";q=1;w=60, "per-hour";q=1;w=3600, "wide";q=9;w=3600`,
		} {
			if got := h.Get(name); got != want {
				t.Errorf("%s: %s is %q, want %q", when, name, got, want)
			}
		}
		var problem struct {
			Type     string
			Title    string
			Status   int
			Violated []string `json:"violated-policies"`
		}
		if err := json.Unmarshal(w.Body.Bytes(), &problem); err != nil {
			t.Fatal(err)
		}
		if w.Code != 429 || problem.Status != 429 || problem.Title == "" ||
			problem.Type != "https://iana.org/assignments/http-problem-types#quota-exceeded" ||
			!reflect.DeepEqual(problem.Violated, []string{"per-minute", "per-hour"}) {
			t.Errorf("%s: %d %+v", when, w.Code, problem)
		}
	}
	if w := do(e, "HEAD", "/"); w.Code != 429 || w.Body.Len() != 0 {
		t.Errorf("HEAD: %d with a body of %d", w.Code, w.Body.Len())
	}
}

func TestTheFieldsInEachStyle(t *testing.T) {
	t.Parallel()
	clk := newClock()
	bucket := limit("bucket", ratelimit.TokenBucket, 60, time.Minute)
	bucket.Burst = 90
	bucket.Plans = map[string]int64{"gold": 120}
	dry := limit("dry", ratelimit.FixedWindow, 1, 90*time.Second)
	dry.DryRun = true
	limits := []ratelimit.Limit{bucket, dry}
	reset := strconv.FormatInt(clk.now().Unix()+1, 10)
	gold := func(echo.Context) ratelimit.Subject { return ratelimit.Subject{Client: "acme", Plan: "gold"} }
	for name, tt := range map[string]struct {
		style    ratelimit.HeaderStyle
		identify func(echo.Context) ratelimit.Subject
		want     map[string]string
	}{
		"draft": {ratelimit.HeadersDraft, nil, map[string]string{
			"RateLimit-Policy": `"bucket";q=60;w=60;burst=90, "dry";q=1;w=90;dry-run`,
			"RateLimit":        `"bucket";r=89;t=1, "dry";r=0;t=90;dry-run`,
		}},
		"draft, by plan": {ratelimit.HeadersDraft, gold, map[string]string{
			"RateLimit-Policy": `"bucket";q=120;w=60;burst=180, "dry";q=1;w=90;dry-run`,
			"RateLimit":        `"bucket";r=179;t=1, "dry";r=0;t=90;dry-run`,
		}},
		"legacy": {ratelimit.HeadersLegacy, nil, map[string]string{
			"X-RateLimit-Limit": "90", "X-RateLimit-Remaining": "89", "X-RateLimit-Reset": reset,
		}},
		"off": {ratelimit.HeadersOff, nil, map[string]string{}},
	} {
		t.Run(name, func(t *testing.T) {
			e := appWith(t, ratelimit.Options{Limits: limits, Headers: tt.style,
				Counters: newCounters(t, ratelimit.CountersOptions{Now: clk.now})}, ratelimit.MiddlewareOptions{Identify: tt.identify})
			h := do(e, "GET", "/").Header()
			for _, field := range []string{"RateLimit-Policy", "RateLimit", "X-RateLimit-Limit", "X-RateLimit-Remaining", "X-RateLimit-Reset"} {
				if got := strings.Join(h.Values(field), ", "); got != tt.want[field] {
					t.Errorf("%s: %q, want %q", field, got, tt.want[field])
				}
			}
		})
	}
}

// The hot path writes RateLimit by hand; a structured-fields library must read
// from it what was meant.
func TestTheFieldsAreStructuredFields(t *testing.T) {
	t.Parallel()
	rapid.Check(t, func(t *rapid.T) {
		var limits []ratelimit.Limit
		for i := range rapid.IntRange(1, 4).Draw(t, "limits") {
			l := drawLimit(t, "x"+strconv.Itoa(i)+rapid.StringMatching(`[a-zA-Z0-9._-]{0,20}`).Draw(t, "name"), rapid.SampledFrom(algorithms).Draw(t, "algorithm"))
			l.Count = ratelimit.Count{}
			limits = append(limits, l)
		}
		l, err := ratelimit.New(ratelimit.Options{Limits: limits})
		if err != nil {
			t.Fatal(err)
		}
		for range 3 {
			o := check(l, from("192.0.2.1"))
			h := http.Header{}
			o.WriteHeaders(h)
			policy, err := httpsfv.UnmarshalList(h["Ratelimit-Policy"])
			if err != nil {
				t.Fatalf("%q: %v", h["Ratelimit-Policy"], err)
			}
			state, err := httpsfv.UnmarshalList(h["Ratelimit"])
			if err != nil {
				t.Fatalf("%q: %v", h["Ratelimit"], err)
			}
			decisions := o.Decisions()
			if len(policy) != len(limits) || len(state) != len(decisions) {
				t.Fatalf("%d policies, %d states for %d limits", len(policy), len(state), len(limits))
			}
			for i, d := range decisions {
				item := state[i].(httpsfv.Item)
				r, _ := item.Params.Get("r")
				at, _ := item.Params.Get("t")
				if item.Value != d.Name || r != d.Remaining || at != ratelimit.Seconds(max(d.Reset, d.RetryAfter)) {
					t.Fatalf("%q of %+v", h["Ratelimit"], d)
				}
			}
		}
	})
}

func TestAnAppsOwnFieldsStay(t *testing.T) {
	t.Parallel()
	e := echo.New()
	e.Use(ratelimit.Middleware(ratelimit.Options{Limits: []ratelimit.Limit{limit("ours", ratelimit.FixedWindow, 5, time.Minute)}}))
	e.GET("/", func(c echo.Context) error {
		c.Response().Header().Set("RateLimit", `"theirs";r=1;t=9`)
		c.Response().Header().Set("RateLimit-Policy", `"theirs";q=2;w=60`)
		return c.NoContent(http.StatusNoContent)
	})
	h := do(e, "GET", "/").Header()
	if got := strings.Join(h.Values("RateLimit"), ", "); got != `"theirs";r=1;t=9, "ours";r=4;t=60` {
		t.Error(got)
	}
	if got := strings.Join(h.Values("RateLimit-Policy"), ", "); got != `"theirs";q=2;w=60, "ours";q=5;w=60` {
		t.Error(got)
	}
}

func TestWhoIsExempt(t *testing.T) {
	t.Parallel()
	x := limit("x", ratelimit.FixedWindow, 1, time.Hour)
	x.Allow = []netip.Prefix{netip.MustParsePrefix("192.0.2.0/25"), netip.MustParsePrefix("2001:db8:1::/48")}
	e := appWith(t, ratelimit.Options{Limits: []ratelimit.Limit{x}}, ratelimit.MiddlewareOptions{
		Skip: func(r *http.Request) bool { return r.Method == "OPTIONS" },
	})
	for name, tt := range map[string]struct {
		method, peer string
		limited      bool
	}{
		"an allowed network":                 {"GET", "192.0.2.7:99", false},
		"its IPv4-mapped form":               {"GET", "[::ffff:192.0.2.7]:99", false},
		"an allowed IPv6 network":            {"GET", "[2001:db8:1::5]:99", false},
		"just outside":                       {"GET", "192.0.2.200:99", true},
		"a skipped request":                  {"OPTIONS", "192.0.2.201:99", false},
		"a zone does not hide from the list": {"GET", "[2001:db8:1::5%eth0]:99", false},
	} {
		t.Run(name, func(t *testing.T) {
			for range 3 {
				w := do(e, tt.method, "/", peer(tt.peer))
				if !tt.limited && (w.Code != 200 || w.Header().Get("RateLimit") != "") {
					t.Fatalf("%d %v", w.Code, w.Header())
				}
			}
			if w := do(e, tt.method, "/", peer(tt.peer)); tt.limited && w.Code != 429 {
				t.Fatal(w.Code)
			}
		})
	}
}

func TestAddressesAreCountedAsClientipSees(t *testing.T) {
	t.Parallel()
	behind := clientip.Middleware(clientip.Options{TrustedProxies: []netip.Prefix{netip.MustParsePrefix("10.0.0.0/8")}})
	forwarded := func(xff string) func(*http.Request) {
		return func(r *http.Request) { r.RemoteAddr = "10.0.0.1:1"; r.Header.Set("X-Forwarded-For", xff) }
	}
	for name, tt := range map[string]struct {
		before []echo.MiddlewareFunc
		a, b   func(*http.Request)
		same   bool
	}{
		"a made-up X-Forwarded-For is not believed": {nil, func(r *http.Request) { r.Header.Set("X-Forwarded-For", "1.1.1.1") },
			func(r *http.Request) { r.Header.Set("X-Forwarded-For", "2.2.2.2") }, true},
		"IPv4 and its mapped form are one":        {nil, peer("192.0.2.1:1"), peer("[::ffff:192.0.2.1]:1"), true},
		"mapped clients are not one IPv6 client":  {nil, peer("[::ffff:192.0.2.1]:1"), peer("[::ffff:192.0.2.2]:1"), false},
		"one /64":                                 {nil, peer("[2001:db8::1]:1"), peer("[2001:db8::ffff:2]:1"), true},
		"two /64":                                 {nil, peer("[2001:db8::1]:1"), peer("[2001:db8:0:1::1]:1"), false},
		"clients of a trusted proxy":              {[]echo.MiddlewareFunc{behind}, forwarded("198.51.100.1"), forwarded("198.51.100.2"), false},
		"one client, spoofing before the proxy's": {[]echo.MiddlewareFunc{behind}, forwarded("9.9.9.9, 198.51.100.1"), forwarded("8.8.8.8, 198.51.100.1"), true},
	} {
		t.Run(name, func(t *testing.T) {
			e := app(ratelimit.Options{Limits: []ratelimit.Limit{limit("x", ratelimit.FixedWindow, 1, time.Hour)}}, tt.before...)
			if w := do(e, "GET", "/", tt.a); w.Code != 200 {
				t.Fatal(w.Code)
			}
			if same := do(e, "GET", "/", tt.b).Code == 429; same != tt.same {
				t.Fatalf("share a counter: %v", same)
			}
		})
	}
}

func TestPlansHaveCountersOfTheirOwn(t *testing.T) {
	t.Parallel()
	x := limit("api", ratelimit.SlidingLog, 2, time.Hour)
	x.Key = []ratelimit.KeyPart{{Kind: ratelimit.KeyClient}}
	x.Plans = map[string]int64{"gold": 5}
	e := appWith(t, ratelimit.Options{Limits: []ratelimit.Limit{x}}, ratelimit.MiddlewareOptions{
		Identify: func(c echo.Context) ratelimit.Subject {
			return ratelimit.Subject{Client: c.QueryParam("c"), Plan: c.QueryParam("plan")}
		},
	})
	for query, want := range map[string]int{"c=acme&plan=gold": 5, "c=tiny&plan=free": 2, "c=other": 2} {
		admitted := 0
		for range 9 {
			if do(e, "GET", "/?"+query).Code == 200 {
				admitted++
			}
		}
		if admitted != want {
			t.Errorf("%s: admitted %d, want %d", query, admitted, want)
		}
	}
}

func TestAMistakeInTheLimitsPanicsAtConstruction(t *testing.T) {
	t.Parallel()
	defer func() {
		if recover() == nil {
			t.Fatal("no panic")
		}
	}()
	ratelimit.Middleware(ratelimit.Options{Limits: []ratelimit.Limit{{Name: "x"}}})
}

// Echo hands on a parameter as it was sent where the path has an odd escape, else decoded.
func TestMiddlewareCountsByTheParametersOfEchosRoute(t *testing.T) {
	t.Parallel()
	key, err := ratelimit.ParseKey("param:id", "query:q")
	if err != nil {
		t.Fatal(err)
	}
	e := echo.New()
	e.GET("/:id/x", func(c echo.Context) error { return c.NoContent(http.StatusOK) }, ratelimit.Middleware(ratelimit.Options{
		Limits: []ratelimit.Limit{{Name: "x", Key: key, Requests: 1, Window: time.Hour}},
	}))
	for _, tt := range []struct {
		target string
		want   int
	}{
		{"/a/x?q=1", 200}, {"/a;b/x?q=1", 429}, {"/a%3bb/x?q=%31", 429}, {"/a/x?q=2", 200}, {"/b/x?q=1", 200},
		{"/5%25/x?q=1", 200}, {"/5%2525/x?q=1", 200}, {"/%2F5%25/x?q=1", 200}, {"/%2f5%25/x?q=1", 429},
	} {
		w := httptest.NewRecorder()
		e.ServeHTTP(w, httptest.NewRequest("GET", tt.target, nil))
		if w.Code != tt.want {
			t.Errorf("%s: %d, want %d", tt.target, w.Code, tt.want)
		}
	}
}
