package admin

import (
	"context"
	"errors"
	"net/http"
	"strconv"
	"time"

	"github.com/headgate/headgate/internal/httpx"
	"github.com/headgate/headgate/middleware/jobs"
	"github.com/labstack/echo/v4"
	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/promhttp"
)

// Health is what /readyz reports.
type Health struct {
	// Draining is true once the gateway is shutting down: it finishes requests in
	// flight, and load balancers must send it no new ones.
	Draining bool
	// Degraded names what is unavailable while the gateway serves without it, such
	// as "redis". It does not make an instance unready: an outage of Redis
	// must not take every instance out of rotation.
	Degraded []string
	// Features says of each what works, and since when not all does. Warnings are what an
	// operator should mend before it goes wrong. Both are shown to /readyz?verbose.
	Features, Warnings []string
}

// Options says what the listener serves. A nil field's endpoints answer 404.
type Options struct {
	// Token guards everything but /livez and /readyz. Empty means none, and
	// that only requests from loopback, and from no web page, are answered.
	Token string
	// Health is asked for /readyz. Required.
	Health func() Health
	// Gatherer has the metrics. Required.
	Gatherer prometheus.Gatherer
	// Limits inspects and resets rate limits.
	Limits Limits
	// Blocks lists, adds and removes networks that are refused.
	Blocks Blocks
	// Purge removes what is cached. It returns when the purge is in force on every
	// instance.
	Purge func(context.Context, Purge) error
	// Sessions lists and ends sessions.
	Sessions Sessions
	// KeySet returns the JSON Web Key Set of session assertions.
	KeySet func() []byte
	// Policy shows and changes what the gateway runs.
	Policy Policy
	// Upstreams shows the app servers, drains and restores them.
	Upstreams Upstreams
	// Jobs shows the queues and their jobs, changes them, and enqueues.
	Jobs Jobs
	// JobsToken returns a token that opens POST /jobs/{queue} besides Token; nil or "" for none.
	JobsToken func() string
}

// Limits is what the admin API asks of the rate limiter.
type Limits interface {
	// Denied returns who is denied or banned at the time, over all instances.
	Denied(ctx context.Context) (DeniedLimits, error)
	// Inspect returns a limit's state for a key, which has as many parts as the
	// limit's key, without consuming anything. The result is encoded as JSON.
	Inspect(ctx context.Context, limit string, key []string) (any, error)
	// Reset forgets what a key has consumed, and any ban.
	Reset(ctx context.Context, limit string, key []string) error
}

// Purge is the body of POST /purge: exactly one of url, prefix, tag, all, and group with its origin.
type Purge struct {
	URL    string `json:"url"`
	Prefix string `json:"prefix"`
	Tag    string `json:"tag"`
	Group  string `json:"group"`  // of Cache-Groups
	Origin string `json:"origin"` // that Group belongs to
	All    bool   `json:"all"`
	// Soft marks as stale instead of removing.
	Soft bool `json:"soft"`
}

// Sessions is what the admin API asks of the session store.
type Sessions interface {
	// List returns a user's sessions, to be encoded as JSON.
	List(ctx context.Context, user string) (any, error)
	// RevokeUser ends all of a user's sessions and returns how many there were.
	RevokeUser(ctx context.Context, user string) (int, error)
	// Revoke ends one session, and reports whether there was one.
	Revoke(ctx context.Context, ref string) (bool, error)
}

// Errors that the functions in Options return so that the operator is told whose
// mistake it is: each has a status of its own.
var (
	ErrNotFound = errors.New("not found")
	ErrBadKey   = errors.New("bad key")
	ErrAway     = errors.New("redis is away")
	ErrRefused  = errors.New("refused") // a policy that cannot run
	ErrHeld     = errors.New("held")    // a rollback holds
	ErrConflict = errors.New("refused") // what is asked for does not go with how things are
	ErrTooLarge = errors.New("too large")
	ErrFull     = errors.New("full") // a queue
)

// New returns the listener's handler.
func New(o Options) http.Handler {
	e := echo.New()
	e.HideBanner, e.HidePort = true, true
	e.HTTPErrorHandler = writeError
	e.Use(guard(o.Token, o.JobsToken), limitBody)

	heads := []string{http.MethodGet, http.MethodHead} // load balancers ask with either
	e.Match(heads, "/livez", func(c echo.Context) error { return c.String(http.StatusOK, "ok\n") })
	e.Match(heads, "/readyz", readyz(o.Health))
	e.GET("/metrics", echo.WrapHandler(promhttp.HandlerFor(o.Gatherer, promhttp.HandlerOpts{})))
	if o.Upstreams != nil {
		e.GET("/upstreams", func(c echo.Context) error { return show(c, o.Upstreams.Status()) })
		e.POST("/upstreams/:name/drain", drainServer(o.Upstreams))
		e.POST("/upstreams/:name/restore", restoreServer(o.Upstreams))
	}
	if o.Limits != nil {
		e.GET("/limits", deniedLimits(o.Limits))
		e.GET("/limits/:name", inspectLimit(o.Limits))
		e.DELETE("/limits/:name", resetLimit(o.Limits))
	}
	if o.Blocks != nil {
		e.GET("/blocks", func(c echo.Context) error { return show(c, o.Blocks.List()) })
		e.POST("/blocks", addBlock(o.Blocks))
		e.DELETE("/blocks/*", removeBlock(o.Blocks))
	}
	if o.KeySet != nil {
		e.GET("/.well-known/jwks.json", func(c echo.Context) error {
			return c.Blob(http.StatusOK, "application/jwk-set+json", o.KeySet())
		})
	}
	if o.Policy != nil {
		e.GET("/policy", showPolicy(o.Policy))
		e.POST("/policy/reload", reloadPolicy(o.Policy))
		e.GET("/policy/history", policyHistory(o.Policy))
		e.POST("/policy/rollback", rollbackPolicy(o.Policy))
		e.GET("/explain", explain(o.Policy))
	}
	if o.Jobs != nil {
		routeJobs(e, o.Jobs)
	}
	profiles(e)
	if o.Purge != nil {
		e.POST("/purge", purge(o.Purge))
	}
	if o.Sessions != nil {
		e.GET("/sessions", listSessions(o.Sessions))
		e.DELETE("/sessions", revokeUser(o.Sessions))
		e.DELETE("/sessions/:ref", revokeSession(o.Sessions))
	}
	return e
}

// The most bytes that a body has: what an operator sends, and the jobs that an app enqueues at once.
const (
	maxBody        = 1 << 20
	maxEnqueueBody = 64 << 20
)

// limitBody bounds what operators and apps can send.
func limitBody(next echo.HandlerFunc) echo.HandlerFunc {
	return func(c echo.Context) error {
		r, most := c.Request(), int64(maxBody)
		if enqueues(c) {
			most = maxEnqueueBody
		}
		r.Body = http.MaxBytesReader(c.Response(), r.Body, most)
		return next(c)
	}
}

func readyz(health func() Health) echo.HandlerFunc {
	return func(c echo.Context) error {
		h := health()
		if h.Draining {
			return c.String(http.StatusServiceUnavailable, "draining\n")
		}
		text := "ok\n"
		for _, what := range h.Degraded {
			text += "degraded: " + what + "\n"
		}
		if c.QueryParams().Has("verbose") {
			for _, line := range h.Features {
				text += line + "\n"
			}
			for _, line := range h.Warnings {
				text += "warning: " + line + "\n"
			}
		}
		return c.String(http.StatusOK, text)
	}
}

func deniedLimits(l Limits) echo.HandlerFunc {
	return func(c echo.Context) error {
		denied, err := l.Denied(c.Request().Context())
		if err != nil {
			return err
		}
		return show(c, denied)
	}
}

func inspectLimit(l Limits) echo.HandlerFunc {
	return func(c echo.Context) error {
		state, err := l.Inspect(c.Request().Context(), c.Param("name"), c.QueryParams()["key"])
		if err != nil {
			return err
		}
		return show(c, state)
	}
}

func resetLimit(l Limits) echo.HandlerFunc {
	return func(c echo.Context) error {
		if err := l.Reset(c.Request().Context(), c.Param("name"), c.QueryParams()["key"]); err != nil {
			return err
		}
		return c.NoContent(http.StatusNoContent)
	}
}

// show answers with v as JSON that people can read.
func show(c echo.Context, v any) error {
	c.Response().Header().Set("Cache-Control", "no-store")
	return c.JSONPretty(http.StatusOK, v, "  ")
}

// writeError answers with RFC 9457 problem details.
func writeError(err error, c echo.Context) {
	if c.Response().Committed {
		return
	}
	if after := retryAfterOf(err); after != "" {
		c.Response().Header().Set("Retry-After", after)
	}
	status, detail := statusOf(err)
	httpx.WriteProblem(c.Response(), c.Request(), httpx.Problem{Status: status, Detail: detail})
}

// statusOf is the status of an error, and what is said of it.
func statusOf(err error) (status int, detail string) {
	status, detail = http.StatusInternalServerError, err.Error()
	var he *echo.HTTPError
	var tooLarge *http.MaxBytesError
	switch {
	case errors.As(err, &he):
		status = he.Code
		if text, ok := he.Message.(string); ok {
			detail = text
		}
	case errors.As(err, &tooLarge):
		status = http.StatusRequestEntityTooLarge
	case errors.Is(err, ErrNotFound):
		status = http.StatusNotFound
	case errors.Is(err, ErrBadKey):
		status = http.StatusBadRequest
	case errors.Is(err, ErrHeld), errors.Is(err, ErrConflict):
		status = http.StatusConflict
	case errors.Is(err, ErrRefused):
		status = http.StatusUnprocessableEntity
	case errors.Is(err, ErrTooLarge):
		status = http.StatusRequestEntityTooLarge
	case errors.Is(err, ErrFull):
		status = http.StatusTooManyRequests
	case errors.Is(err, ErrAway):
		status = http.StatusServiceUnavailable
	case errors.Is(err, context.DeadlineExceeded):
		status = http.StatusGatewayTimeout
	}
	return status, detail
}

// retryAfterOf is when what an error is about may be tried again, as Retry-After has it; "" where that is not known.
func retryAfterOf(err error) string {
	var full *jobs.FullError
	if !errors.As(err, &full) {
		return ""
	}
	return strconv.FormatInt(int64((full.RetryAfter+time.Second-1)/time.Second), 10)
}

// Serve returns the listener's http.Server. Its write timeout leaves room for a
// profile, the only endpoint that takes more than a moment.
func Serve(h http.Handler) *http.Server {
	return &http.Server{
		Handler:           h,
		ReadHeaderTimeout: 5 * time.Second,
		ReadTimeout:       30 * time.Second,
		WriteTimeout:      5 * time.Minute,
		IdleTimeout:       2 * time.Minute,
		MaxHeaderBytes:    64 << 10,
	}
}
