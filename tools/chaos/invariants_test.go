//go:build linux

package main

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"net/http"
	"net/http/httptest"
	"slices"
	"strings"
	"testing"
	"time"
)

var start = time.Unix(1_800_000_000, 0)

func at(ms int) time.Time { return start.Add(time.Duration(ms) * time.Millisecond) }

// broken returns the names of the invariants that did not hold.
func broken(r *report) (names []string) {
	for _, v := range r.violations {
		if !slices.Contains(names, v.invariant) {
			names = append(names, v.invariant)
		}
	}
	return names
}

// admissions are so many at the times, in ms, each answered 5 ms after it was sent.
func admissions(n int, times ...int) (all []admission) {
	for _, ms := range times {
		for range n {
			all = append(all, admission{fmt.Sprint("at", ms), at(ms), at(ms + 5)})
		}
	}
	return all
}

func TestTooManyAdmissionsAreFound(t *testing.T) {
	three := []span{{from: start}, {from: start}, {from: start}}
	outage := []span{{from: at(1500), to: at(2500), outage: true}}
	restarted := append(slices.Clone(three), span{from: at(1000), to: at(1200)})
	for name, tc := range map[string]struct {
		history   []admission
		outages   []span
		processes []span
		broken    []string
	}{
		"the limit in each window":         {admissions(10, 0, 2001, 4002), nil, three, nil},
		"one more":                         {admissions(11, 0), nil, three, []string{limitsExact}},
		"one more, over two windows":       {append(admissions(6, 1500), admissions(5, 3000)...), nil, three, []string{limitsExact}},
		"answered after the window":        {append(admissions(10, 0), admission{"late", at(1999), at(2001)}), nil, three, nil},
		"a fault that is no outage":        {admissions(11, 0), []span{{from: at(0), what: "gateway: kill -9"}}, three, []string{limitsExact}},
		"the limit of three, in an outage": {admissions(30, 1000), outage, three, nil},
		"more than that":                   {admissions(31, 1000), outage, three, []string{limitsBounded}},
		"after the outage":                 {admissions(11, 2600), outage, three, []string{limitsExact}},
		"a gateway was restarted in it":    {admissions(40, 1000), outage, restarted, nil},
		"one was restarted before":         {admissions(31, 1300), outage, restarted, []string{limitsBounded}},
		"a failover forgets a limit":       {admissions(40, 1000), []span{{from: at(1500), outage: true, failover: true}}, three, nil},
		"and no more":                      {admissions(41, 1000), []span{{from: at(1500), outage: true, failover: true}}, three, []string{limitsBounded}},
	} {
		t.Run(name, func(t *testing.T) {
			r := newReport()
			limitJudge{10, 2 * time.Second, tc.outages, tc.processes}.judge(tc.history, r.judge)
			if got := broken(r); !slices.Equal(got, tc.broken) {
				t.Errorf("broken: %q, want %q", got, tc.broken)
			}
			if r.checked[limitsExact]+r.checked[limitsBounded] != len(tc.history) {
				t.Errorf("%v checks of %d admissions", r.checked, len(tc.history))
			}
		})
	}
}

func TestLostAndRevivedSessionsAreFound(t *testing.T) {
	mine, others := &page{User: "alice"}, &page{User: "bob"}
	for name, tc := range map[string]struct {
		state  sessionState
		answer answer
		broken string // "-": not judged
	}{
		"served":                      {loggedIn, answer{status: 200, page: mine}, ""},
		"anonymous":                   {loggedIn, answer{status: 401}, staysIn},
		"sent to the login page":      {loggedIn, answer{status: 303}, staysIn},
		"another's":                   {loggedIn, answer{status: 200, page: others}, rightClient},
		"anonymously":                 {loggedIn, answer{status: 200, page: &page{}}, rightClient},
		"Redis is away":               {loggedIn, answer{status: 503}, "-"},
		"no answer":                   {loggedIn, answer{err: errors.New("EOF")}, "-"},
		"logged out":                  {loggedOut, answer{status: 401}, ""},
		"back":                        {loggedOut, answer{status: 200, page: mine}, staysOut},
		"back as another":             {loggedOut, answer{status: 200, page: others}, rightClient},
		"logout that has no answer":   {unknownState, answer{status: 200, page: mine}, "-"},
		"the same, and it has worked": {unknownState, answer{status: 401}, "-"},
	} {
		t.Run(name, func(t *testing.T) {
			v := userSession{user: "alice", state: tc.state}
			f, judged := v.judge(tc.answer)
			if judged != (tc.broken != "-") {
				t.Fatalf("judged: %v", judged)
			}
			if judged && f.holds != (tc.broken == "") || !f.holds && judged && f.invariant != tc.broken {
				t.Errorf("found %+v, want %q", f, tc.broken)
			}
		})
	}
}

func TestLoginsAndLogoutsCountWhenConfirmed(t *testing.T) {
	v := userSession{}
	v.login(answer{status: 503}, true)
	v.login(answer{status: 200, page: &page{}}, false)
	if v.state != unknownState {
		t.Error("a login without a page or without a cookie is confirmed")
	}
	if v.login(answer{status: 200, page: &page{}}, true); v.state != loggedIn {
		t.Error("a login is not confirmed")
	}
	if v.logout(answer{status: 503}); v.state != unknownState {
		t.Error("after a logout that failed the session may be over")
	}
	if v.logout(answer{status: 200}); v.state != loggedOut {
		t.Error("a logout is not confirmed")
	}
}

func TestPurgedPagesAreFound(t *testing.T) {
	p := &purges{}
	p.confirm("/pages/1", 3)
	p.confirm("/pages/1", 2) // an older purge that was confirmed later
	for version, holds := range map[int]bool{2: false, 3: true, 4: true} {
		f, judged := judgeVersion(answer{status: 200, page: &page{Version: version}}, p.oldest("/pages/1"))
		if !judged || f.holds != holds || f.invariant != staysPurged {
			t.Errorf("version %d: %v %+v", version, judged, f)
		}
	}
	if _, judged := judgeVersion(answer{status: 503}, 3); judged {
		t.Error("an error is no page")
	}
}

// wrongGateway answers requests as a gateway would that has the fault.
func wrongGateway(fault string, r *report) http.Handler {
	s := newSite(r)
	s.edit("/pages/1")
	return http.HandlerFunc(func(w http.ResponseWriter, q *http.Request) {
		w.Header().Set(headerNonce, q.Header.Get(headerNonce))
		switch fault {
		case "another's request ID":
			w.Header().Set(headerNonce, "reader7-12")
		case "no request ID":
			w.Header().Del(headerNonce)
		case "another's body":
			q.Header.Set(headerNonce, "reader7-12")
		case "another's page":
			q.URL.Path = "/pages/2"
		case "sent twice":
			s.serve(httptest.NewRecorder(), q.Clone(q.Context()), false)
			q.Body = http.NoBody
			q.Header.Del(headerSum)
		case "a body that lacks its end":
			q.Body = http.NoBody
		case "an answer that lacks its end", "an answer that lacks almost all":
			rec := httptest.NewRecorder()
			s.serve(rec, q, false)
			n := rec.Body.Len() - 1
			if strings.HasSuffix(fault, "all") {
				n = 10
			}
			_, _ = w.Write(rec.Body.Bytes()[:n])
			return
		case "an answer that is cut off": // which the client sees: that is no fault
			s.serve(w, q, true)
		}
		s.serve(w, q, false)
	})
}

func TestWrongAnswersAreFound(t *testing.T) {
	get := request{kind: "page", method: "GET", path: "/pages/1"}
	cached := request{kind: "page", method: "GET", path: "/pages/1", cached: true}
	post := request{kind: "upload", method: "POST", path: "/upload", body: []byte("all of it")}
	for fault, tc := range map[string]struct {
		request request
		broken  []string
	}{
		"none":                            {get, nil},
		"none of a cached page":           {cached, nil},
		"none of an upload":               {post, nil},
		"another's request ID":            {cached, []string{rightClient}},
		"no request ID":                   {get, []string{rightClient}},
		"another's body":                  {get, []string{rightClient}},
		"another's page":                  {cached, []string{rightClient}},
		"sent twice":                      {post, []string{unsafeOnce, wholeBodies}},
		"a body that lacks its end":       {post, []string{wholeBodies}},
		"an answer that lacks its end":    {get, []string{wholeBodies}},
		"an answer that lacks almost all": {cached, []string{wholeBodies}},
		"an answer that is cut off":       {get, nil},
	} {
		t.Run(fault, func(t *testing.T) {
			t.Parallel()
			r := newReport()
			server := httptest.NewServer(wrongGateway(fault, r))
			defer server.Close()
			c := newClient(r, server.Listener.Addr().String(), "me", rand.New(rand.NewPCG(1, 2)))
			defer c.http.CloseIdleConnections()
			c.do(t.Context(), tc.request)
			if got := broken(r); !slices.Equal(got, tc.broken) {
				t.Errorf("broken: %q, want %q", got, tc.broken)
			}
			k := r.kinds[tc.request.kind]
			if k.sent != 1 || k.lost == 1 != (fault == "an answer that is cut off") {
				t.Errorf("counted as %+v", *k)
			}
		})
	}
}

// An answer that arrives while the run ends is judged by no client: it may lack its end.
func TestAnswersAfterTheRunAreNotJudged(t *testing.T) {
	r := newReport()
	ctx, end := context.WithCancel(t.Context())
	s := newSite(r)
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, q *http.Request) {
		w.Header().Set(headerNonce, q.Header.Get(headerNonce))
		s.serve(w, q, false)
		end()
	}))
	defer server.Close()
	c := newClient(r, server.Listener.Addr().String(), "me", rand.New(rand.NewPCG(1, 2)))
	defer c.http.CloseIdleConnections()
	u := userSession{user: "alice", state: loggedIn}
	u.report(c, c.do(ctx, request{kind: "account", method: "GET", path: "/account/a"}))
	if len(r.checked) != 0 || len(r.kinds) != 0 {
		t.Errorf("judged: %v, counted: %v", r.checked, r.kinds)
	}
}

func TestLeaksAreFound(t *testing.T) {
	before := vitals{goroutines: 50, descriptors: 60, memory: 40 << 20}
	for _, tc := range []struct {
		now    vitals
		broken int
	}{
		{vitals{goroutines: 60, descriptors: 70, memory: 100 << 20}, 0},
		{vitals{goroutines: 81, descriptors: 60, memory: 40 << 20}, 1},
		{vitals{goroutines: 50, descriptors: 81, memory: 40 << 20}, 1},
		{vitals{goroutines: 50, descriptors: 60, memory: 145 << 20}, 1},
	} {
		n := 0
		for _, f := range judgeReturn("gateway0", before, tc.now) {
			if !f.holds && f.invariant == returns {
				n++
			}
		}
		if n != tc.broken {
			t.Errorf("%+v: %d of its figures did not return, want %d", tc.now, n, tc.broken)
		}
	}
}

func TestFaultThatStaysIsFound(t *testing.T) {
	l := &lab{report: newReport(), redis: &topology{}}
	until, end := context.WithCancel(t.Context())
	broken := fault{name: "gateway: never comes back", run: func(context.Context, scene) error {
		end()
		return fmt.Errorf("gateway0 is ready: %w", errEnded)
	}}
	l.runLane(t.Context(), until, &deck{lane: gatewayLane, faults: []fault{broken}, rng: rand.New(rand.NewPCG(1, 2))})
	if v := l.report.violations; len(v) != 1 || v[0].invariant != comesBack || v[0].request != broken.name {
		t.Errorf("found %+v", v)
	}
	if spans := l.report.spans(); len(spans) != 1 || spans[0].to.IsZero() {
		t.Errorf("the fault is noted as %+v", spans)
	}
}

func TestReportFailsWithEvidence(t *testing.T) {
	r := newReport()
	for _, name := range invariants[1:] {
		r.judge(finding{invariant: name, holds: true}, "x")
	}
	if !r.failed() {
		t.Error("an invariant that was never checked passes")
	}
	r.judge(finding{invariant: invariants[0], holds: true}, "x")
	if r.failed() {
		t.Error("it fails while all hold")
	}
	end := r.fault(span{what: "redis: SIGSTOP"})
	r.judge(finding{invariant: staysIn, detail: "alice got 401"}, "user1-17")
	end()
	var text bytes.Buffer
	r.print(&text)
	for _, want := range []string{"BROKEN", staysIn, "request user1-17: alice got 401", "fault: redis: SIGSTOP, from"} {
		if !strings.Contains(text.String(), want) {
			t.Errorf("no %q in\n%s", want, text.String())
		}
	}
	if !r.failed() {
		t.Error("it passes with a violation")
	}
}

func TestSeedDeterminesFaults(t *testing.T) {
	deal := func(seed uint64) (names []string) {
		d := newDeck(redisLane, "cluster", rand.New(rand.NewPCG(seed, 1)))
		for range 2 * len(d.faults) {
			names = append(names, d.deal().name)
		}
		return names
	}
	one := deal(1)
	if !slices.Equal(one, deal(1)) || slices.Equal(one, deal(2)) {
		t.Error("the order is not the seed's")
	}
	half := slices.Clone(one[:len(one)/2])
	slices.Sort(half)
	if len(slices.Compact(half)) != len(one)/2 {
		t.Errorf("one comes twice before all have come: %q", one)
	}
	if slices.Contains(one, "redis: failover by Sentinels") {
		t.Error("a Cluster has no Sentinels")
	}
}

func TestVitalsAreReadFromMetrics(t *testing.T) {
	v, err := readVitals([]byte(`# HELP go_goroutines Number of goroutines.
go_goroutines 38
headgate_limit_decisions_total{limit="each",outcome="admitted",source="local"} 3
headgate_limit_decisions_total{limit="each",outcome="denied",source="local"} 4
headgate_limit_decisions_total{limit="each",outcome="admitted",source="redis"} 100
headgate_redis_available 1
process_open_fds 45
process_resident_memory_bytes 3.3e+07
`))
	if want := (vitals{local: 7, redis: true, goroutines: 38, descriptors: 45, memory: 3.3e7}); err != nil || v != want {
		t.Errorf("%+v, %v", v, err)
	}
	if _, err := readVitals([]byte("go_goroutines 38\n")); err == nil {
		t.Error("metrics that lack figures are taken")
	}
}

func TestLostAndDoubleJobsAreFound(t *testing.T) {
	one, other := &page{Nonce: "1", Sum: "a"}, &page{Nonce: "2", Sum: "b"}
	for name, tc := range map[string]struct {
		outcome outcome
		holds   bool
	}{
		"done":               {outcome{"done", []*page{one, one}, 1}, true},
		"done twice":         {outcome{"done", []*page{one, one}, 2}, true},
		"never done":         {outcome{"done", []*page{one, one}, 0}, false},
		"failed":             {outcome{"failed", []*page{one, one}, 1}, false},
		"forgotten":          {outcome{"404", nil, 1}, false},
		"without a result":   {outcome{"done", nil, 1}, false},
		"with two results":   {outcome{"done", []*page{one, other}, 2}, false},
		"with another's one": {outcome{"done", []*page{{Path: "/work/x"}, {Path: "/work/y"}}, 1}, false},
	} {
		t.Run(name, func(t *testing.T) {
			r := newReport()
			for _, f := range tc.outcome.judge(job{key: "key", location: "/.jobs/work-1"}) {
				r.judge(f, "key")
			}
			if got := broken(r); (got == nil) != tc.holds || !tc.holds && !slices.Equal(got, []string{jobsDone}) {
				t.Errorf("broken: %q", got)
			}
		})
	}
}
