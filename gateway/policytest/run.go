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
	// Run chooses the tests whose names it matches. Nil chooses all.
	Run *regexp.Regexp
}

// Run runs the tests of one policy. The error is ctx's. What is wrong with a
// file, and which tests failed, is in the Report.
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

// world is what a test runs in: a gateway that has just begun, with apps, time
// and clients of its own.
type world struct {
	gateway *server.Server
	clock   *clock
	apps    *apps
	jars    map[string]*cookies // by client
	begun   time.Time
	record  observe.Record // of the last request
}

// run runs one test.
func (f *File) run(ctx context.Context, p *policies.Policy, t *Test) (*Result, error) {
	began := time.Now()
	result := &Result{Name: t.Name, Position: t.Position}
	w := &world{clock: &clock{now: f.Clock}, begun: f.Clock, jars: map[string]*cookies{}}
	w.apps = &apps{clock: w.clock, answers: f.Apps}
	gateway, err := server.New(server.Options{
		Policy:    p,
		Logger:    slog.New(slog.DiscardHandler),
		Now:       w.clock.Now,
		Transport: w.apps.transport,
		Observe:   func(o *observe.Record) { w.record = *o },
	})
	if err != nil {
		result.Failures = append(result.Failures, Failed{Position: t.Position, Cannot: fmt.Sprintf("the policy cannot run: %v", err)})
		return result, nil
	}
	w.gateway = gateway
	defer func() { _ = gateway.Shutdown(context.WithoutCancel(ctx)) }() // nothing is in flight

	for _, s := range t.Steps {
		if err := w.step(ctx, s, result); err != nil {
			return nil, err
		}
	}
	result.Simulated = w.clock.Now().Sub(f.Clock)
	result.Took = time.Since(began)
	return result, nil
}

// step runs a step, with its requests spread evenly over its time. Of each
// phase the first request that is not as expected is told, and how many were.
func (w *world) step(ctx context.Context, s *Step, result *Result) error {
	begin := w.clock.Now()
	if s.Method == "" {
		w.clock.set(begin.Add(s.Wait))
		return nil
	}
	phase, left := -1, 0
	var failed *Failed
	for i := range s.Times {
		if err := ctx.Err(); err != nil {
			return err
		}
		w.clock.set(begin.Add(s.after(i)))
		got := w.send(ctx, s)
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
		differences := w.compare(ctx, &expect.Expectation, got)
		switch {
		case len(differences) == 0:
		case failed == nil:
			result.Failures = append(result.Failures, Failed{
				Position: expect.Position, Step: s.Position,
				Number: i + 1, Of: s.Times,
				Request: fmt.Sprintf("%s %s://%s%s", s.Method, s.Scheme, s.Host, s.Target), From: got.from.String(), As: s.As.Name,
				After: w.clock.Now().Sub(w.begun), Differences: differences,
				Answer: got.summary(), Explanation: w.explain(ctx, got),
			})
			failed = &result.Failures[len(result.Failures)-1]
		default:
			failed.More++
		}
	}
	w.clock.set(begin.Add(s.Over))
	return nil
}

// after is how long after its first request a step's i-th is sent: i*Over/Times,
// where the product itself might be too large for a Duration.
func (s *Step) after(i int) time.Duration {
	n := time.Duration(s.Times)
	return s.Over/n*time.Duration(i) + s.Over%n*time.Duration(i)/n
}

// answered is what became of a request.
type answered struct {
	step     *Step
	from     netip.Addr
	header   http.Header // of the request
	status   int
	answer   http.Header
	body     string
	broken   bool // the answer was cut off
	record   observe.Record
	received []*received
}

// send sends a step's request once.
func (w *world) send(ctx context.Context, s *Step) *answered {
	got := &answered{step: s, from: s.From, header: s.As.Header.Clone()}
	if !got.from.IsValid() {
		got.from = s.As.From
	}
	if got.header == nil {
		got.header = http.Header{}
	}
	for name, values := range s.Header {
		got.header[name] = values
	}
	jar := w.jars[s.As.Name]
	if jar == nil {
		jar = new(cookies)
		w.jars[s.As.Name] = jar
	}
	if line := jar.header(s, w.clock.Now()); line != "" && got.header["Cookie"] == nil {
		got.header.Set("Cookie", line)
	}
	w.apps.begin(s.App)
	w.record = observe.Record{}
	rec := newRecorder()
	got.broken = serve(w.gateway, rec, s.request(ctx, got))
	w.gateway.Settle()
	got.status, got.answer, got.body = rec.finish()
	got.record, got.received = w.record, w.apps.asked()
	jar.take(got.answer["Set-Cookie"], s, w.clock.Now())
	return got
}

// request makes what net/http's server would have made of a step's request.
func (s *Step) request(ctx context.Context, got *answered) *http.Request {
	u, err := url.ParseRequestURI(s.Target)
	if err != nil {
		panic(err) // the loader has parsed it
	}
	r := &http.Request{
		Method: s.Method, URL: u, RequestURI: s.Target, Host: s.Host,
		Proto: "HTTP/1.1", ProtoMajor: 1, ProtoMinor: 1,
		Header: got.header.Clone(), Body: http.NoBody,
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

// serve runs the gateway's chain and reports whether it cut the answer off.
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

// explain asks the gateway what it makes of such a request now.
func (w *world) explain(ctx context.Context, got *answered) *pipeline.Explanation {
	header := got.header.Clone()
	host := got.step.Host
	if h := header.Get("Host"); h != "" {
		host = h
	}
	e, err := w.gateway.Explain(ctx, pipeline.Question{
		Method: got.step.Method, URL: got.step.Scheme + "://" + host + got.step.Target,
		IP: got.record.ClientIP, Header: header, User: got.record.User, Session: got.record.Session,
	})
	if err != nil {
		return nil
	}
	return e
}
