package pipeline

import (
	"bytes"
	"cmp"
	"context"
	"errors"
	"net/http"
	"net/http/httputil"
	"net/netip"
	"net/url"
	"slices"
	"strconv"
	"time"

	"github.com/dunglas/httpsfv"
	"github.com/headgate/headgate/gateway/observe"
	"github.com/headgate/headgate/internal/httpx"
	"github.com/headgate/headgate/middleware/clientip"
	"github.com/headgate/headgate/middleware/jobs"
	"github.com/headgate/headgate/middleware/proxy"
	"github.com/headgate/headgate/middleware/session"
)

// What an app server is told of a job, besides who asked for it.
const (
	headerJob     = "Headgate-Job"
	headerAttempt = "Headgate-Attempt"
)

// Work does one attempt at a job: an app server is asked as for any request of the job's route, by this policy, and what it
// answers goes back to the queue. It is a [jobs.Runner].
func (p *Pipeline) Work(ctx context.Context, job *jobs.Job, number int) jobs.Answer {
	at := &attemptAtJob{pipeline: p, job: job, number: number, route: p.routeOfJob(job), start: p.parts.Now()}
	answer := at.do(ctx)
	at.observe(answer)
	if answer.Status >= 200 && answer.Status < 300 {
		at.invalidate(ctx, answer.Header)
	}
	return answer
}

// routeOfJob returns the route that the job was asked for by, if the policy still has it; nil for jobs of apps and schedules.
func (p *Pipeline) routeOfJob(job *jobs.Job) *Route {
	at := slices.IndexFunc(p.routes, func(rt *Route) bool { return rt.Name == job.Route && rt.Policy.Upstream == job.Upstream })
	if job.Route == "" || at < 0 {
		return nil
	}
	return p.routes[at]
}

// attemptAtJob is one attempt at a job.
type attemptAtJob struct {
	pipeline *Pipeline
	job      *jobs.Job
	number   int    // of the attempt, from 1
	route    *Route // nil: none has header rules for it
	start    time.Time
	record   proxy.Record
}

func (at *attemptAtJob) do(ctx context.Context) jobs.Answer {
	u := at.pipeline.parts.Upstreams[at.job.Upstream]
	if u == nil {
		return jobs.Answer{Unavailable: true, Reason: "the policy has no upstream " + strconv.Quote(at.job.Upstream)}
	}
	queue := at.pipeline.policy.Queues[at.job.Queue]
	if queue == nil {
		return jobs.Answer{Unavailable: true, Reason: "the policy has no queue " + strconv.Quote(at.job.Queue)}
	}
	r, err := at.request(proxy.NewContext(ctx, &at.record))
	if err != nil {
		return jobs.Answer{Status: http.StatusBadRequest, Reason: err.Error()}
	}
	w := &answerWriter{header: http.Header{}, most: queue.MaxBody}
	err = forwardJob(u.Handler(at.options(headTimeout(queue.Timeout))), w, r)
	var failure *proxy.Error
	switch {
	case err == nil:
		return jobs.Answer{Status: w.status, Header: w.sent, Body: w.body.Bytes(), Truncated: w.truncated}
	case errors.As(err, &failure):
		return failedAttempt(failure)
	}
	return jobs.Answer{Sent: true, Reason: err.Error()}
}

// headTimeout is how long a server may take to the header of its answer: a little less than the attempt as a whole, whose time the
// queue keeps. The proxy's own time-out tells a server that did not answer from one that can't be connected to.
func headTimeout(whole time.Duration) time.Duration {
	return whole - min(whole/20, 250*time.Millisecond)
}

// request makes the request of the job, as the proxy takes it.
func (at *attemptAtJob) request(ctx context.Context) (*http.Request, error) {
	job := at.job
	r, err := http.NewRequestWithContext(ctx, job.Method, cmp.Or(job.Scheme, "http")+"://"+cmp.Or(job.Host, "jobs.invalid")+job.URL, bytes.NewReader(job.Body))
	if err != nil {
		return nil, err
	}
	r.URL.Scheme, r.URL.Host = "", ""
	r.Host, r.Header, r.RequestURI = job.Host, job.Header.Clone(), job.URL
	if r.Header == nil {
		r.Header = http.Header{}
	}
	if len(job.Body) == 0 {
		r.Body = http.NoBody
	}
	return r, nil
}

// options are those of the job's route, but for what is between the gateway and a client.
func (at *attemptAtJob) options(timeout time.Duration) proxy.RouteOptions {
	return proxy.RouteOptions{
		RewriteHost:    true, // unless announce names the client's
		Timeout:        timeout,
		ReadTimeout:    timeout,
		Client:         func(*http.Request) clientip.Info { return at.asked() },
		Scheme:         func(*http.Request) string { return cmp.Or(at.job.Scheme, "http") },
		Rewrite:        at.announce,
		ModifyResponse: at.takeAnswer,
		Filter:         session.StripReserved,

		// Each attempt may go to another server.
		AffinityCookies: func(*http.Request) []string { return nil }, SetAffinityCookie: func(*http.Request, string) {},
	}
}

// asked is the address that asked for the job; none of jobs of apps and schedules.
func (at *attemptAtJob) asked() (info clientip.Info) {
	if addr, err := netip.ParseAddr(at.job.Header.Get(headerAsked)); err == nil {
		info.Addr, info.Bucket = addr, at.pipeline.resolver.Bucket(addr)
	}
	return info
}

// announce makes the forwarded request what the policy wants it to be, and says which job it is.
func (at *attemptAtJob) announce(pr *httputil.ProxyRequest) {
	h, job := pr.Out.Header, at.job
	if at.route == nil || at.route.Policy.PreserveHost {
		pr.Out.Host = job.Host
	}
	if at.route != nil && at.route.requestHeaders != nil {
		at.route.requestHeaders.apply(h, nil)
	}
	h.Set(headerJob, job.ID)
	h.Set(headerAttempt, strconv.Itoa(at.number))
	key, err := httpsfv.Marshal(httpsfv.NewItem(cmp.Or(job.Key, job.ID)))
	if err != nil {
		key = `"` + job.ID + `"` // a key that can't be written was never taken
	}
	h.Set("Idempotency-Key", key)
}

// takeAnswer makes the app server's answer what is kept of it: what it says of sessions and costs has no meaning any more.
func (at *attemptAtJob) takeAnswer(res *http.Response) error {
	if res.StatusCode == http.StatusSwitchingProtocols {
		return &proxy.Error{Status: http.StatusBadGateway, Kind: proxy.KindRefused, Err: errors.New("a job's connection is not upgraded")}
	}
	followUp := res.Header[jobs.EnqueueHeader]
	session.StripReserved(res.Header)
	res.Header.Del("Set-Cookie")
	if at.route != nil && at.route.responseHeaders != nil {
		at.route.responseHeaders.apply(res.Header, nil)
	}
	if followUp != nil {
		res.Header[jobs.EnqueueHeader] = followUp
	}
	return nil
}

// forwardJob forwards the request. An answer that breaks off is an error as well.
func forwardJob(h *proxy.Handler, w http.ResponseWriter, r *http.Request) (err error) {
	defer func() {
		switch p := recover(); p {
		case nil:
		case http.ErrAbortHandler:
			err = errors.New("the app server's answer broke off")
		default:
			panic(p)
		}
	}()
	return h.Forward(w, r)
}

// failedAttempt says what an attempt without an answer means for the job.
func failedAttempt(failure *proxy.Error) jobs.Answer {
	a := jobs.Answer{Reason: failure.Error()}
	switch failure.Kind {
	case proxy.KindConnect, proxy.KindClosed, proxy.KindOverloaded:
		a.Unavailable = true
	case proxy.KindBadRequest, proxy.KindBodyTooLarge, proxy.KindLoop, proxy.KindRefused:
		a.Status = failure.Status // no other attempt is going to differ, but for what the app server sends
	default:
		a.Sent = true
	}
	return a
}

// invalidate has the cache forget what the job that is done has made invalid, as the answer to a request would have.
func (at *attemptAtJob) invalidate(ctx context.Context, h http.Header) {
	c, job := at.pipeline.parts.Cache, at.job
	if c == nil || at.route == nil || at.route.cache == nil || httpx.IsSafe(job.Method) {
		return
	}
	target, err := url.Parse(cmp.Or(job.Scheme, "http") + "://" + job.Host + job.URL)
	if err != nil {
		return // the app server could not have been asked for it
	}
	c.Changed(context.WithoutCancel(ctx), at.route.cache, target, h)
}

// observe writes the attempt's line of the access log.
func (at *attemptAtJob) observe(answer jobs.Answer) {
	parts, job := &at.pipeline.parts, at.job
	took := parts.Now().Sub(at.start)
	if parts.AccessLog == nil && parts.Observe == nil {
		return
	}
	record := observe.Record{
		Time: at.start, ID: job.Header.Get(headerRequestID), Method: job.Method, Host: job.Host, URI: job.URL, Proto: "HTTP/1.1",
		Status: answer.Status, Bytes: int64(len(answer.Body)), Duration: took, Route: job.Route, Upstream: at.record.Server,
		Client: job.Owner.Client, User: job.Owner.User, Error: answer.Reason,
		Queue: job.Queue, Job: job.ID, Attempt: at.number,
	}
	if addr := at.asked().Addr; addr.IsValid() {
		record.ClientIP = addr.String()
	}
	parts.LogFormat.Collect(&record, job.Header)
	if parts.AccessLog != nil {
		parts.AccessLog.Line(func(b []byte) []byte { return parts.LogFormat.Append(b, &record) })
	}
	if parts.Observe != nil {
		parts.Observe(&record)
	}
}

// answerWriter keeps an app server's answer, up to a number of bytes.
type answerWriter struct {
	header    http.Header
	sent      http.Header // header, as it was when the body began; trailers are not kept
	status    int
	body      bytes.Buffer
	most      int64
	truncated bool
}

func (w *answerWriter) Header() http.Header { return w.header }

func (w *answerWriter) WriteHeader(status int) {
	if w.status == 0 && status >= 200 {
		w.status, w.sent = status, w.header.Clone()
		w.sent.Del("Trailer")
	}
}

func (w *answerWriter) Write(p []byte) (int, error) {
	w.WriteHeader(http.StatusOK)
	if int64(w.body.Len()+len(p)) > w.most {
		w.truncated = true
		w.body.Reset()
	}
	if !w.truncated {
		w.body.Write(p)
	}
	return len(p), nil
}
