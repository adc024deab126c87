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
	"github.com/headgate/headgate/middleware/session"
	"github.com/headgate/headgate/policies"
)

// engine runs records through a policy's pipeline, with counters in memory and the log's time as their clock.
type engine struct {
	policy   *policies.Policy
	host     string // for records without one
	scheme   string
	pipeline *pipeline.Pipeline
	counters *ratelimit.Counters
	limits   []string // names, sorted
	routes   []*pipeline.Route
	byName   map[string]*policies.Route
	cache    *cacheEstimator // nil where no route has a cache
	untimed  bool            // a record does not say how long its request took
	headers  bool            // a route or limit of the policy depends on a request header

	now     int64 // microseconds; the counters' clock
	pending timeHeap[settlement]
	seq     uint64
	header  http.Header      // of the current request; reused
	request pipeline.Request // the current one; reused
	record  *logs.Record     // that the current request is made of
	verdict *verdict         // on the current request
}

// settlement is a response by which limits will settle a reservation, and give back a place of a request in flight, once it is complete.
type settlement struct {
	result   *ratelimit.Result
	response ratelimit.Response
}

const (
	// counterBytes bounds the counters of a policy: about a million.
	counterBytes = 256 << 20
	// denialBytes bounds the deny cache: remembered denials and bans.
	denialBytes = 64 << 20
	// maxPending bounds how many settlements wait at once; beyond it the earliest is settled early.
	maxPending = 1 << 17
	// resolution is that of the time in Headgate's access log, in microseconds. A response that was complete
	// less than that before a request arrived may seem to be complete after it.
	resolution = 1000
)

// outcome is how a policy answers a request, as the report counts it.
type outcome uint8

const (
	passed outcome = iota
	denied
	badRequest
	notFound
	methodNotAllowed
	deniedNetwork
	maintenance
	purgeRefused
	outcomes // how many there are
)

// verdict is what a policy does with one request; limits and routes are indices.
type verdict struct {
	outcome outcome
	route   int  // that takes the request, or -1
	limit   int  // that denied it, or -1
	dryRun  int  // the dry-run limit that would have denied it, or -1
	banned  bool // the denial is a ban's
	cache   cacheUse
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
		SettleNext:     e.settleNext,
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
		e.headers = e.headers || len(r.Match.Headers)+len(r.Match.Cookies) > 0
	}
	for _, name := range e.limits {
		l, _ := e.pipeline.Limit(name)
		e.headers = e.headers || slices.ContainsFunc(l.Key, func(k ratelimit.KeyPart) bool { return k.Kind == ratelimit.KeyHeader })
	}
	e.cache = newCacheEstimator(p, o.AssumeTTL)
	return e, nil
}

func (e *engine) close() { e.counters.Close() }

// decide runs a request through the pipeline, which counts it against its limits.
func (e *engine) decide(r *logs.Record) verdict {
	e.now = max(e.now, r.At)
	e.untimed = e.untimed || r.Took == 0
	e.settleUntil(e.now + resolution)

	v := verdict{route: -1, limit: -1, dryRun: -1}
	if r.Method == "" { // the client did not speak HTTP
		v.outcome = badRequest
		return v
	}
	e.record, e.verdict = r, &v
	req := e.requestOf(r)
	if a := e.pipeline.Run(req); a != nil {
		v.outcome = outcomeOf(req.Stage, a.Status)
	}
	if req.Route != nil {
		v.route = req.Match.Index
	}
	return v
}

// outcomeOf maps the answer of a stage to what the report counts.
func outcomeOf(stage string, status int) outcome {
	switch {
	case stage == pipeline.StageDenied:
		return deniedNetwork
	case stage == pipeline.StageMaintenance:
		return maintenance
	case stage == pipeline.StagePurge && status == http.StatusForbidden:
		return purgeRefused
	case stage == pipeline.StageDenyCache || stage == pipeline.StageAdmit:
		return denied
	case stage != pipeline.StageNormalise && stage != pipeline.StageRoute:
		return passed // a fixed response, a redirect or a CORS preflight
	}
	switch status {
	case http.StatusBadRequest:
		return badRequest
	case http.StatusNotFound:
		return notFound
	case http.StatusMethodNotAllowed:
		return methodNotAllowed
	}
	return passed // OPTIONS *, which the gateway answers
}

// requestOf makes the pipeline's request of a record.
func (e *engine) requestOf(r *logs.Record) *pipeline.Request {
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
	if public := e.policy.Server.PublicScheme; public != "" {
		req.Scheme = string(public)
	}
	if req.Header = e.header; e.headers {
		e.knownHeaders(r)
	}
	req.Info = clientip.Info{Addr: r.Addr, Bucket: e.pipeline.Resolver().Bucket(r.Addr)}
	return req
}

// knownHeaders fills in the request's headers as far as they are known. Where Headgate's log names the
// route that took the request, the request had the headers that this route asks for.
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
			for name, value := range route.Match.Cookies {
				e.header.Add("Cookie", name+"="+value)
			}
		}
	}
}

func (e *engine) limitIndex(name string) int {
	i, _ := slices.BinarySearch(e.limits, name)
	return i
}

// settleLater settles a reservation at the time at which the logged response was complete.
func (e *engine) settleLater(rt *policies.Route, r *logs.Record, o *ratelimit.Result) {
	s := settlement{result: o, response: ratelimit.Response{Status: r.Status}}
	switch {
	case rt.Respond != nil:
		s.response.Status = rt.Respond.Status
	case rt.Redirect != nil:
		s.response.Status = rt.Redirect.Status
	case r.Status == logs.StatusClientClosed || r.Status == 0:
		s.response = ratelimit.Response{} // no response: the request stays charged
	case r.Own != nil:
		s.response.Own = r.Own.GatewayError
		if r.Own.LoggedIn {
			s.response.Header = loginHeader
		}
	case r.Status < 400 && rt.Session == session.Login:
		s.response.Header = loginHeader // other logs do not have the header; a success is the nearest to it
	}
	if len(e.pending) >= maxPending {
		e.settle(e.pending.pop().v)
	}
	e.seq++
	e.pending.push(timed[settlement]{r.At + r.Took.Microseconds(), e.seq, s})
}

// loginHeader is the header by which an app server says that it has logged a user in.
var loginHeader = http.Header{"Headgate-Login": {"?1"}}

func (e *engine) settleUntil(at int64) {
	for len(e.pending) > 0 && e.pending[0].at <= at {
		e.settle(e.pending.pop().v)
	}
}

// settleNext settles the reservation whose response is complete next, where that is soon enough for a request that
// waits for it. Other requests may find it settled a moment too early, for which they would have waited as well.
func (e *engine) settleNext() bool {
	if len(e.pending) == 0 || e.pending[0].at > e.now+ratelimit.MaxWait.Microseconds() {
		return false
	}
	e.settle(e.pending.pop().v)
	return true
}

func (e *engine) settle(s settlement) {
	s.result.Settle(context.Background(), s.response)
	s.result.Release(context.Background())
}
