package rfc9111

import (
	"net/http"
	"strings"
	"testing"
	"time"
)

var noon = time.Date(2026, 3, 1, 12, 0, 0, 0, time.UTC)

// fields makes a header of lines such as "Name: value".
func fields(lines ...string) http.Header {
	h := http.Header{}
	for _, line := range lines {
		name, value, _ := strings.Cut(line, ": ")
		h.Add(name, value)
	}
	return h
}

func storing(p Policy, class Class) *Storing {
	return &Storing{Policy: &p, Class: class, Field: func(string) []string { return nil }}
}

// arrival is a response that was asked for a second before it came at noon.
func arrival(status int, lines ...string) *Arrival {
	return &Arrival{Status: status, Header: fields(lines...), Requested: noon.Add(-time.Second), Received: noon}
}

func TestSection3WhatIsStored(t *testing.T) {
	t.Parallel()
	for name, tc := range map[string]struct {
		status int
		class  Class
		lines  []string
		want   Reason
	}{
		"explicit freshness":            {200, 0, []string{"Cache-Control: max-age=60"}, ""},
		"nothing said":                  {200, 0, nil, ReasonNoFreshness},
		"a validator alone":             {200, 0, []string{`ETag: "v"`}, ""},
		"no-store":                      {200, 0, []string{"Cache-Control: no-store, max-age=60"}, ReasonNoStore},
		"must-understand, understood":   {200, 0, []string{"Cache-Control: no-store, must-understand, max-age=60"}, ""},
		"must-understand, unknown":      {299, 0, []string{"Cache-Control: must-understand, max-age=60"}, ReasonNotUnderstood},
		"private":                       {200, 0, []string{"Cache-Control: private, max-age=60"}, ReasonPrivate},
		"Set-Cookie":                    {200, 0, []string{"Cache-Control: public, max-age=60", "Set-Cookie: a=b"}, ReasonSetCookie},
		"partial":                       {206, 0, []string{"Cache-Control: max-age=60"}, ReasonPartial},
		"Vary: *":                       {200, 0, []string{"Cache-Control: max-age=60", "Vary: A, *"}, ReasonVary},
		"Authorization":                 {200, WithAuthorization, []string{"Cache-Control: max-age=60"}, ReasonAuthorization},
		"Authorization, s-maxage":       {200, WithAuthorization, []string{"Cache-Control: s-maxage=60"}, ""},
		"a session":                     {200, WithSession, []string{"Cache-Control: s-maxage=60"}, ReasonSession},
		"a session, public":             {200, WithSession, []string{"Cache-Control: public, max-age=60"}, ""},
		"a cookie, explicit":            {200, WithCookie, []string{"Cache-Control: max-age=60"}, ""},
		"CDN-Cache-Control wins":        {200, 0, []string{"Cache-Control: no-store", "CDN-Cache-Control: max-age=60"}, ""},
		"a header beyond its bound":     {200, 0, []string{"Cache-Control: max-age=60", "X: " + strings.Repeat("x", maxStoredHeader)}, ReasonHeader},
		"a status that cannot be final": {199, 0, []string{"Cache-Control: max-age=60"}, ReasonStatus},
	} {
		if _, why := storing(Policy{}, tc.class).NewResponse(arrival(tc.status, tc.lines...)); why != tc.want {
			t.Errorf("%s: %q, want %q", name, why, tc.want)
		}
	}
}

func TestSection421FreshnessLifetime(t *testing.T) {
	t.Parallel()
	expires := "Expires: " + FormatDate(noon.Add(90*time.Second))
	for name, tc := range map[string]struct {
		policy Policy
		lines  []string
		want   time.Duration
		source LifetimeSource
	}{
		"s-maxage before max-age": {Policy{}, []string{"Cache-Control: max-age=5, s-maxage=60", expires}, 60 * time.Second, LifetimeExplicit},
		"max-age before Expires":  {Policy{}, []string{"Cache-Control: max-age=5", expires}, 5 * time.Second, LifetimeExplicit},
		"Expires less Date":       {Policy{}, []string{expires}, 90 * time.Second, LifetimeExplicit},
		"an invalid Expires":      {Policy{TTL: time.Minute}, []string{"Expires: 0"}, 0, LifetimeExplicit},
		"an invalid max-age":      {Policy{TTL: time.Minute}, []string{"Cache-Control: max-age=x"}, 0, LifetimeExplicit},
		"the policy's":            {Policy{TTL: time.Minute}, nil, time.Minute, LifetimeAssigned},
		"the policy's by force":   {Policy{ForceTTL: time.Hour}, []string{"Cache-Control: max-age=5"}, time.Hour, LifetimeAssigned},
		"a guess":                 {Policy{Heuristic: true}, []string{"Last-Modified: " + FormatDate(noon.Add(-100*time.Second))}, 10 * time.Second, LifetimeHeuristic},
		"none":                    {Policy{}, nil, 0, LifetimeNone},
	} {
		a := arrival(200, append(tc.lines, "Date: "+FormatDate(noon))...)
		d, targeted := ResponseDirectives(a.Header)
		if got, source := tc.policy.lifetime(a, &d, targeted, responseDate(a)); got != tc.want || source != tc.source {
			t.Errorf("%s: %v of source %d, want %v of %d", name, got, source, tc.want, tc.source)
		}
	}
}

func TestSection423Age(t *testing.T) {
	t.Parallel()
	for name, tc := range map[string]struct {
		lines []string
		want  time.Duration
	}{
		"the request's time":   {nil, time.Second},
		"Age and that time":    {[]string{"Age: 10"}, 11 * time.Second},
		"an older Date":        {[]string{"Age: 10", "Date: " + FormatDate(noon.Add(-time.Minute))}, time.Minute},
		"an Age that is none":  {[]string{"Age: -3"}, time.Second},
		"a Date in the future": {[]string{"Date: " + FormatDate(noon.Add(time.Hour))}, time.Second},
	} {
		if got := InitialAge(arrival(200, tc.lines...)); got != tc.want {
			t.Errorf("%s: %v, want %v", name, got, tc.want)
		}
	}
}

func TestSection42WhatMayBeReused(t *testing.T) {
	t.Parallel()
	for name, tc := range map[string]struct {
		response, request string // Cache-Control
		obey, softened    bool
		after             time.Duration
		want              Verdict
	}{
		"fresh":                              {"max-age=60", "", false, false, 30 * time.Second, Fresh},
		"stale":                              {"max-age=60", "", false, false, 61 * time.Second, MustValidate},
		"stale-while-revalidate":             {"max-age=60, stale-while-revalidate=60", "", false, false, 61 * time.Second, StaleRefresh},
		"must-revalidate":                    {"max-age=60, must-revalidate, stale-while-revalidate=60", "", false, false, 61 * time.Second, MustValidate},
		"max-stale":                          {"max-age=60", "max-stale=30", false, false, 61 * time.Second, StaleAllowed},
		"no-cache of the origin":             {"no-cache, max-age=60", "", false, false, 0, MustValidate},
		"no-cache of the client":             {"max-age=60", "no-cache", false, false, 0, Fresh},
		"no-cache of a client who is obeyed": {"max-age=60", "no-cache", true, false, 0, MustValidate},
		"min-fresh of such a client":         {"max-age=60", "min-fresh=50", true, false, 30 * time.Second, MustValidate},
		"a soft purge":                       {"max-age=60", "", false, true, 0, MustValidate},
		"a soft purge, refreshed":            {"max-age=60, stale-while-revalidate=60", "", false, true, 0, StaleRefresh},
	} {
		a := arrival(200, "Cache-Control: "+tc.response, `ETag: "v"`)
		a.Requested = a.Received
		r, why := storing(Policy{}, 0).NewResponse(a)
		if r == nil {
			t.Fatalf("%s: not stored: %s", name, why)
		}
		d := ParseCacheControl([]string{tc.request})
		if got := r.Judge(&Request{Directives: &d, Obey: tc.obey}, noon.Add(tc.after), tc.softened); got != tc.want {
			t.Errorf("%s: verdict %d, want %d", name, got, tc.want)
		}
	}
}

func TestSection434UpdateBy304(t *testing.T) {
	t.Parallel()
	s := storing(Policy{}, 0)
	r, _ := s.NewResponse(arrival(200, "Cache-Control: max-age=60", `ETag: "v"`, "Content-Length: 5", "X-Old: 1", "X-Kept: 1"))
	for name, tc := range map[string]struct {
		lines []string
		want  bool
	}{
		"the same strong tag": {[]string{`ETag: "v"`}, true},
		"another strong tag":  {[]string{`ETag: "w"`}, false},
		"its weak form":       {[]string{`ETag: W/"v"`}, true},
		"no tag":              {nil, true},
	} {
		if got := r.ConfirmedBy(fields(tc.lines...)); got != tc.want {
			t.Errorf("%s: %v", name, got)
		}
	}
	merged, why := s.MergeNotModified(r, arrival(304, "X-Old: 2", "Content-Length: 0", "Cache-Control: max-age=9"))
	if merged == nil {
		t.Fatal(why)
	}
	for name, want := range map[string]string{"X-Old": "2", "X-Kept": "1", "Content-Length": "5", "Cache-Control": "max-age=9"} {
		if got := merged.Header.Get(name); got != want {
			t.Errorf("%s: %q, want %q", name, got, want)
		}
	}
	for line, personal := range map[string]bool{"Set-Cookie: a=b": true, "Cache-Control: no-store": false} {
		if merged, why := s.MergeNotModified(r, arrival(304, line)); merged != nil || why.Personal() != personal {
			t.Errorf("%s: %v, %q", line, merged, why)
		}
	}
}
