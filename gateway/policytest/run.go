package policytest

import (
	"context"
	"crypto/tls"
	"fmt"
	"log/slog"
	"net/http"
	"net/netip"
	"net/url"
	"regexp"
	"slices"
	"strings"
	"time"

	"github.com/headgate/headgate/gateway/observe"
	"github.com/headgate/headgate/gateway/pipeline"
	"github.com/headgate/headgate/gateway/server"
	"github.com/headgate/headgate/internal/httpx"
	"github.com/headgate/headgate/policies"
)

// Options says what to run.
type Options struct {
	// Policy is the policy's path, Tests that of its tests. Both are required.
	Policy, Tests string
	// Run chooses tests by name. Nil chooses all.
	Run *regexp.Regexp
}

// Run runs the tests of one policy. Its only error is ctx's; mistakes in the files, and failed tests,
// are in the Report.
func Run(ctx context.Context, o Options) (*Report, error) {
	r := &Report{Policy: o.Policy, Tests: o.Tests}
	file, found := Load(o.Tests)
	if found.HasErrors() {
		r.Wrong = found
		return r, nil
	}
	policy, notes, found := file.load(o.Policy)
	if r.Notes = notes; found.HasErrors() {
		r.Wrong = found
		return r, nil
	}
	for _, t := range file.Tests {
		if o.Run != nil && !o.Run.MatchString(t.Name) {
			r.Skipped++
			continue
		}
		result, err := file.run(ctx, policy, t)
		if err != nil {
			return r, err
		}
		r.Results = append(r.Results, result)
	}
	return r, nil
}

// harness is what a test runs on: a gateway that has just started, with its own app servers, clock
// and clients.
type harness struct {
	gateway *server.Server
	clock   *clock
	apps    *apps
	jars    map[string]*cookies // by client
	begun   time.Time
	record  observe.Record // of the last request
	lasts   time.Duration  // of its response
	open    []openResponse
}

// openResponse is a response that is not complete yet, to limits of requests in flight.
type openResponse struct {
	until   time.Time
	release func()
}

// setClock moves the clock, and completes the responses that have ended by then.
func (h *harness) setClock(t time.Time) {
	h.clock.set(t)
	h.open = slices.DeleteFunc(h.open, func(o openResponse) bool {
		if o.until.After(t) {
			return false
		}
		o.release()
		return true
	})
}

// release completes a response, now or when it has lasted as long as its step says.
func (h *harness) release(release func()) {
	if h.lasts == 0 {
		release()
		return
	}
	h.open = append(h.open, openResponse{h.clock.Now().Add(h.lasts), release})
}

// run runs one test.
func (f *File) run(ctx context.Context, p *policies.Policy, t *Test) (*Result, error) {
	began := time.Now()
	result := &Result{Name: t.Name, Position: t.Position}
	h := &harness{clock: &clock{now: f.Clock}, begun: f.Clock, jars: map[string]*cookies{}}
	h.apps = &apps{clock: h.clock, answers: f.Apps}
	gateway, err := server.New(server.Options{
		Policy:    p,
		Logger:    slog.New(slog.DiscardHandler),
		Now:       h.clock.Now,
		Transport: h.apps.transport,
		Release:   h.release,
		Observe:   func(o *observe.Record) { h.record = *o },
	})
	if err != nil {
		result.Failures = append(result.Failures, Failed{Position: t.Position, Cannot: fmt.Sprintf("the policy cannot run: %v", err)})
		return result, nil
	}
	h.gateway = gateway
	defer func() { _ = gateway.Shutdown(context.WithoutCancel(ctx)) }() // nothing is in flight

	for _, s := range t.Steps {
		if err := h.step(ctx, s, result); err != nil {
			return nil, err
		}
	}
	result.Simulated = h.clock.Now().Sub(f.Clock)
	result.Took = time.Since(began)
	return result, nil
}

// step runs a step, with its requests spread evenly over its time. Of each
// phase it reports the first request that is not as expected, and how many more there were.
func (h *harness) step(ctx context.Context, s *Step, result *Result) error {
	begin := h.clock.Now()
	switch {
	case s.Jobs:
		return h.runJobs(ctx, s, result)
	case s.Method == "":
		h.setClock(begin.Add(s.Wait))
		return nil
	}
	phase, left := -1, 0
	var failed *Failed
	for i := range s.Times {
		if err := ctx.Err(); err != nil {
			return err
		}
		h.setClock(begin.Add(s.offset(i)))
		got := h.send(ctx, s)
		result.Requests++
		if len(s.Expect) == 0 {
			continue
		}
		for left == 0 {
			phase++
			left, failed = s.Expect[phase].Requests, nil
		}
		left--
		expect := &s.Expect[phase]
		differences := h.compare(ctx, &expect.Expectation, got)
		switch {
		case len(differences) == 0:
		case failed == nil:
			result.Failures = append(result.Failures, Failed{
				Position: expect.Position, Step: s.Position,
				Number: i + 1, Of: s.Times,
				Request: fmt.Sprintf("%s %s://%s%s", s.Method, s.Scheme, s.Host, s.Target), From: got.from.String(), As: s.As.Name,
				After: h.clock.Now().Sub(h.begun), Differences: differences,
				Answer: got.summary(), Explanation: h.explain(ctx, got),
			})
			failed = &result.Failures[len(result.Failures)-1]
		default:
			failed.More++
		}
	}
	h.setClock(begin.Add(s.Over))
	return nil
}

// runJobs does all jobs that are due by the test's clock, and those that fall due at once.
func (h *harness) runJobs(ctx context.Context, s *Step, result *Result) error {
	h.apps.beginStep(s.App)
	h.record, h.lasts = observe.Record{}, 0
	attempts, err := h.gateway.RunJobs(ctx)
	if err != nil {
		return err
	}
	got := &observed{step: s, record: h.record, received: h.apps.requests(), attempts: attempts}
	result.Requests += attempts
	if len(s.Expect) == 0 {
		return nil
	}
	expect := &s.Expect[0]
	if differences := h.compare(ctx, &expect.Expectation, got); len(differences) > 0 {
		result.Failures = append(result.Failures, Failed{
			Position: expect.Position, Step: s.Position, Number: 1, Of: 1, Request: "jobs: run",
			After: h.clock.Now().Sub(h.begun), Differences: differences, Answer: count(attempts, "attempt") + " at jobs",
		})
	}
	return nil
}

// offset is how long after its first request a step's i-th is sent: i*Over/Times,
// where the product itself might be too large for a Duration.
func (s *Step) offset(i int) time.Duration {
	n := time.Duration(s.Times)
	return s.Over/n*time.Duration(i) + s.Over%n*time.Duration(i)/n
}

// observed is what the client, the access log and the app servers saw of a request.
type observed struct {
	step           *Step
	from           netip.Addr
	requestHeader  http.Header
	status         int
	responseHeader http.Header
	body           string
	truncated      bool // the gateway aborted the response
	record         observe.Record
	received       []*received
	attempts       int // at jobs, of a step that runs them
}

// send sends a step's request once.
func (h *harness) send(ctx context.Context, s *Step) *observed {
	got := &observed{step: s, from: s.From, requestHeader: s.As.Header.Clone()}
	if !got.from.IsValid() {
		got.from = s.As.From
	}
	if got.requestHeader == nil {
		got.requestHeader = http.Header{}
	}
	for name, values := range s.Header {
		got.requestHeader[name] = values
	}
	jar := h.jars[s.As.Name]
	if jar == nil {
		jar = new(cookies)
		h.jars[s.As.Name] = jar
	}
	if line := jar.header(s, h.clock.Now()); line != "" && got.requestHeader["Cookie"] == nil {
		got.requestHeader.Set("Cookie", line)
	}
	h.apps.beginStep(s.App)
	h.record, h.lasts = observe.Record{}, s.Lasts
	rec := newRecorder()
	got.truncated = serve(h.gateway, rec, s.request(ctx, got))
	h.gateway.WaitForFetches()
	got.status, got.responseHeader, got.body = rec.finish()
	got.record, got.received = h.record, h.apps.requests()
	jar.take(got.responseHeader["Set-Cookie"], s, h.clock.Now())
	return got
}

// request makes the http.Request that net/http's server would make of a step's request.
func (s *Step) request(ctx context.Context, got *observed) *http.Request {
	u, err := url.ParseRequestURI(s.Target)
	if err != nil {
		panic(err) // the decoder has parsed the target
	}
	r := &http.Request{
		Method: s.Method, URL: u, RequestURI: s.Target, Host: s.Host,
		Proto: "HTTP/1.1", ProtoMajor: 1, ProtoMinor: 1,
		Header: got.requestHeader.Clone(), Body: http.NoBody,
		RemoteAddr: netip.AddrPortFrom(got.from, 49152).String(),
	}
	if host := r.Header.Get("Host"); host != "" {
		r.Host = host
		r.Header.Del("Host")
	}
	if s.Body != "" {
		r.Body = &bodyReader{Reader: strings.NewReader(s.Body)}
		r.ContentLength = int64(len(s.Body))
	}
	if s.Scheme == "https" {
		r.TLS = &tls.ConnectionState{Version: tls.VersionTLS13, HandshakeComplete: true, ServerName: httpx.HostName(s.Host)}
	}
	return r.WithContext(ctx)
}

type bodyReader struct{ *strings.Reader }

func (*bodyReader) Close() error { return nil }

// serve runs the gateway and reports whether it aborted the response.
func serve(h http.Handler, w http.ResponseWriter, r *http.Request) (broken bool) {
	defer func() {
		switch p := recover(); p {
		case nil:
		case http.ErrAbortHandler:
			broken = true
		default:
			panic(p)
		}
	}()
	h.ServeHTTP(w, r)
	return false
}

// explain asks the gateway for its explanation of the same request now; nil if there is none.
func (h *harness) explain(ctx context.Context, got *observed) *pipeline.Explanation {
	header := got.requestHeader.Clone()
	host := got.step.Host
	if named := header.Get("Host"); named != "" {
		host = named
	}
	account := ""
	if n := len(got.received); n > 0 {
		account = got.received[n-1].account
	}
	e, err := h.gateway.Explain(ctx, pipeline.Question{
		Method: got.step.Method, URL: got.step.Scheme + "://" + host + got.step.Target,
		IP: got.from.String(), Header: header, User: got.record.User, Session: got.record.Session, Plan: got.record.Plan,
		Account: account, Body: got.step.Body,
	})
	if err != nil {
		return nil
	}
	return e
}
