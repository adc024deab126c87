package replay

import (
	"context"
	"maps"
	"net/http"
	"slices"
	"time"

	"github.com/headgate/headgate/gateway/pipeline"
	"github.com/headgate/headgate/gateway/replay/logs"
	"github.com/headgate/headgate/middleware/clientip"
	"github.com/headgate/headgate/middleware/ratelimit"
	"github.com/headgate/headgate/policies"
)

// engine is a policy at work on records: the gateway's own pipeline on backends that
// know what a log tells, with memory for counters and the log's time for a clock.
type engine struct {
	policy   *policies.Policy
	host     string // for logs that do not tell it
	scheme   string
	pipeline *pipeline.Pipeline
	counters *ratelimit.Counters
	limits   []string // names, sorted
	routes   []*pipeline.Route
	byName   map[string]*policies.Route
	cache    *cacheEstimator // nil where no route has a cache
	headers  bool            // a header is a condition or key somewhere

	now     int64 // microseconds; the counters' clock
	pending timeHeap[settlement]
	seq     uint64
	header  http.Header      // of the request at hand, used again
	request pipeline.Request // the one at hand, used again
	record  *logs.Record     // that it is made of
	verdict *verdict         // on it
}

// settlement is an answer that limits which count by it still wait for.
type settlement struct {
	outcome *ratelimit.Result
	answer  ratelimit.Response
}

const (
	// counterBytes bounds the counters of a policy: about a million.
	counterBytes = 256 << 20
	// denialBytes bounds what is remembered of denials and bans.
	denialBytes = 64 << 20
	// maxPending bounds how many answers are waited for at once.
	maxPending = 1 << 17
	// resolution is that of our access log's time, in microseconds: an answer that was complete
	// within it before a request came may seem to be complete after it.
	resolution = 1000
)

// outcome is what becomes of a request.
type outcome uint8

const (
	passed outcome = iota
	denied
	badRequest
	notFound
	methodNotAllowed
	maintenance
)

// verdict is what a policy does with one request.
type verdict struct {
	outcome outcome
	route   int  // -1 where none takes it
	limit   int  // the one that denied, or -1
	dryRun  int  // the one that would have, or -1
	banned  bool // the denial is a ban's
	cache   cacheAnswer
}

func newEngine(p *policies.Policy, o Options) (*engine, error) {
	e := &engine{
		policy: p,
		host:   o.Host,
		scheme: o.Scheme,
		limits: slices.Sorted(maps.Keys(p.Limits)),
		byName: make(map[string]*policies.Route),
		header: make(http.Header),
	}
	var err error
	e.counters, err = ratelimit.NewCounters(ratelimit.CountersOptions{
		MemoryBytes:    counterBytes,
		DenyCacheBytes: denialBytes,
		Now:            func() time.Time { return time.UnixMicro(e.now) },
	})
	if err != nil {
		return nil, err
	}
	if e.pipeline, err = pipeline.New(p, pipeline.Parts{Counters: e.counters}); err != nil {
		e.counters.Close()
		return nil, err
	}
	e.routes = e.pipeline.Routes()
	for _, r := range p.Routes {
		e.byName[r.Name] = r
		e.headers = e.headers || len(r.Match.Headers) > 0
	}
	for _, name := range e.limits {
		l, _ := e.pipeline.Limit(name)
		e.headers = e.headers || slices.ContainsFunc(l.Key, func(k ratelimit.KeyPart) bool { return k.Kind == ratelimit.KeyHeader })
	}
	e.cache = newCacheEstimator(p, o.AssumeTTL)
	return e, nil
}

func (e *engine) close() { e.counters.Close() }

// decide says what becomes of a request, and counts it.
func (e *engine) decide(r *logs.Record) verdict {
	e.now = max(e.now, r.At)
	e.settleUntil(e.now + resolution)

	v := verdict{route: -1, limit: -1, dryRun: -1}
	if r.Method == "" { // the client did not speak HTTP
		v.outcome = badRequest
		return v
	}
	e.record, e.verdict = r, &v
	req := e.ask(r)
	if a := e.pipeline.Run(req); a != nil {
		v.outcome = outcomeOf(req.Stage, a.Status)
	}
	if req.Route != nil {
		v.route = req.Match.Index
	}
	return v
}

// outcomeOf says what the answer of a stage means to the report.
func outcomeOf(stage string, status int) outcome {
	switch {
	case stage == pipeline.StageMaintenance:
		return maintenance
	case stage == pipeline.StageDenyCache || stage == pipeline.StageAdmit:
		return denied
	case stage != pipeline.StageNormalise && stage != pipeline.StageRoute:
		return passed // the policy's own answer, a CORS preflight's among them
	}
	switch status {
	case http.StatusBadRequest:
		return badRequest
	case http.StatusNotFound:
		return notFound
	case http.StatusMethodNotAllowed:
		return methodNotAllowed
	}
	return passed // OPTIONS *: the gateway answers for itself
}

// ask makes a request of a record.
func (e *engine) ask(r *logs.Record) *pipeline.Request {
	req := &e.request
	req.Begin(context.Background(), e.pipeline, e)
	named, _, query := pipeline.SplitTarget(r.URI)
	if named == "" {
		named = r.Host
	}
	if named == "" {
		named = e.host
	}
	req.Method, req.Target, req.Authority, req.Scheme, req.Query = r.Method, r.URI, named, e.scheme, query
	if req.Header = e.header; e.headers {
		e.knownHeaders(r)
	}
	req.Info = clientip.Info{Addr: r.Addr, Bucket: e.pipeline.Resolver().Bucket(r.Addr)}
	return req
}

// knownHeaders fills in the request's headers as far as a log tells them. Where our
// own log says that a route took the request, it met that route's conditions.
func (e *engine) knownHeaders(r *logs.Record) {
	clear(e.header)
	if r.Agent != "" {
		e.header["User-Agent"] = []string{r.Agent}
	}
	if r.Referer != "" {
		e.header["Referer"] = []string{r.Referer}
	}
	if r.Own != nil {
		if route := e.byName[r.Own.Route]; route != nil {
			for name, value := range route.Match.Headers {
				e.header.Set(name, value)
			}
		}
	}
}

func (e *engine) limitIndex(name string) int {
	i, _ := slices.BinarySearch(e.limits, name)
	return i
}

// settleLater has a reservation settled when the answer was complete.
func (e *engine) settleLater(rt *policies.Route, r *logs.Record, o *ratelimit.Result) {
	s := settlement{outcome: o, answer: ratelimit.Response{Status: r.Status}}
	switch {
	case rt.Respond != nil:
		s.answer.Status = rt.Respond.Status
	case rt.Redirect != nil:
		s.answer.Status = rt.Redirect.Status
	case r.Status == logs.StatusClientClosed || r.Status == 0:
		s.answer = ratelimit.Response{} // no response: the request stays charged
	case r.Own != nil:
		s.answer.Own = r.Own.GatewayError
		if r.Own.LoggedIn {
			s.answer.Header = loginHeader
		}
	case r.Status < 400 && rt.Session == policies.SessionLogin:
		s.answer.Header = loginHeader // what other logs tell comes no nearer to it
	}
	if len(e.pending) >= maxPending {
		e.settle(e.pending.pop().v)
	}
	e.seq++
	e.pending.push(timed[settlement]{r.At + r.Took.Microseconds(), e.seq, s})
}

// loginHeader stands for the app's word that it has logged somebody in.
var loginHeader = http.Header{"Headgate-Login": {"?1"}}

func (e *engine) settleUntil(at int64) {
	for len(e.pending) > 0 && e.pending[0].at <= at {
		e.settle(e.pending.pop().v)
	}
}

func (e *engine) settle(s settlement) { s.outcome.Settle(context.Background(), s.answer) }
