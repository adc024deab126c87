package admin

import (
	"context"
	"crypto/sha256"
	"crypto/subtle"
	"net/http"
	"strconv"
	"time"

	"github.com/labstack/echo/v4"
)

// Jobs is what the admin API asks of the queues, which all instances share.
type Jobs interface {
	// Queues returns how the queues of the running policy stand.
	Queues(ctx context.Context) ([]QueueState, error)
	// List returns the jobs of a queue with a status, "" for those that wait, run and failed.
	List(ctx context.Context, queue, status string, offset, limit int) (QueueJobs, error)
	// Show returns one job; ErrNotFound means that there is none.
	Show(ctx context.Context, queue, id string) (Job, error)
	// Enqueue stores jobs of an app, in their order: all of them, or none.
	Enqueue(ctx context.Context, queue string, jobs []NewJob) (ids []string, err error)
	// Retry puts a failed job back. ErrConflict means that it has not failed.
	Retry(ctx context.Context, queue, id string) (Job, error)
	// RetryFailed puts all failed jobs of a queue back, and returns how many they were.
	RetryFailed(ctx context.Context, queue string) (int, error)
	// Cancel cancels a job that is not over.
	Cancel(ctx context.Context, queue, id string) (Job, error)
	// SetPaused has no job of a queue begin, on any instance, or ends that.
	SetPaused(ctx context.Context, queue string, paused bool, by string) (QueueState, error)
}

// QueueState is how a queue stands, over all instances.
type QueueState struct {
	Queue       string `json:"queue"`
	Concurrency int    `json:"concurrency"`
	Paused      bool   `json:"paused"`
	Queued      int64  `json:"queued"`  // jobs that are due
	Waiting     int64  `json:"waiting"` // those that wait for their time
	Running     int64  `json:"running"`
	Done        int64  `json:"done"`
	Failed      int64  `json:"failed"`
	Cancelled   int64  `json:"cancelled"`
	// Oldest is how long the first job has been due.
	Oldest float64 `json:"oldest_seconds"`
	// Average is about how long an attempt takes.
	Average float64 `json:"average_seconds"`
	// Slowed is for how long the queue pauses by itself, because of what the app answers.
	Slowed float64 `json:"slowed_seconds,omitempty"`
	Bytes  int64   `json:"bytes"`
	Kept   int64   `json:"kept_bytes"`
	Most   int64   `json:"max_bytes"`
}

// QueueJobs are some jobs of a queue.
type QueueJobs struct {
	QueueState
	Jobs []Job `json:"jobs"`
	// More: there are jobs behind the last one.
	More bool `json:"more,omitempty"`
}

// Job is a job as operators see it.
type Job struct {
	ID        string    `json:"id"`
	Queue     string    `json:"queue"`
	Status    string    `json:"status"`
	Method    string    `json:"method"`
	URL       string    `json:"url"`
	Host      string    `json:"host,omitempty"`
	Upstream  string    `json:"upstream"`
	Route     string    `json:"route,omitempty"`
	User      string    `json:"user,omitempty"` // who asked
	Client    string    `json:"client,omitempty"`
	Address   string    `json:"address,omitempty"`
	Schedule  string    `json:"schedule,omitempty"`
	After     string    `json:"after,omitempty"` // the job that it is the follow-up of
	Key       string    `json:"idempotency_key,omitempty"`
	Attempts  int       `json:"attempts"`
	Lost      int       `json:"lost,omitempty"`          // times that it came back without an attempt
	Answered  int       `json:"result_status,omitempty"` // what the app answered last
	Reason    string    `json:"reason,omitempty"`        // why it is not done
	Place     int64     `json:"place,omitempty"`
	Estimate  float64   `json:"estimate_seconds,omitempty"`
	Created   time.Time `json:"created"`
	Due       time.Time `json:"due,omitzero"`
	Started   time.Time `json:"started,omitzero"`
	Finished  time.Time `json:"finished,omitzero"`
	Expires   time.Time `json:"expires,omitzero"`
	Cancelled bool      `json:"cancelling,omitempty"` // it still runs
	Bytes     int64     `json:"bytes"`
}

// routeJobs adds the paths of jobs.
func routeJobs(e *echo.Echo, j Jobs) {
	e.GET("/jobs", func(c echo.Context) error {
		all, err := j.Queues(c.Request().Context())
		if err != nil {
			return err
		}
		return show(c, all)
	})
	e.GET("/jobs/:queue", listJobs(j))
	e.POST("/jobs/:queue", enqueue(j))
	e.POST("/jobs/:queue/retry", func(c echo.Context) error {
		n, err := j.RetryFailed(c.Request().Context(), c.Param("queue"))
		if err != nil {
			return err
		}
		return show(c, map[string]int{"retried": n})
	})
	e.POST("/jobs/:queue/pause", setPaused(j, true))
	e.POST("/jobs/:queue/resume", setPaused(j, false))
	e.GET("/jobs/:queue/:id", oneJob(j.Show))
	e.DELETE("/jobs/:queue/:id", oneJob(j.Cancel))
	e.POST("/jobs/:queue/:id/retry", oneJob(j.Retry))
}

func listJobs(j Jobs) echo.HandlerFunc {
	return func(c echo.Context) error {
		var page [2]int
		for i, name := range []string{"offset", "limit"} {
			text := c.QueryParam(name)
			if text == "" {
				continue
			}
			n, err := strconv.Atoi(text)
			if err != nil || n < 0 {
				return echo.NewHTTPError(http.StatusBadRequest, name+" is a number from 0.")
			}
			page[i] = n
		}
		list, err := j.List(c.Request().Context(), c.Param("queue"), c.QueryParam("status"), page[0], page[1])
		if err != nil {
			return err
		}
		return show(c, list)
	}
}

func setPaused(j Jobs, paused bool) echo.HandlerFunc {
	return func(c echo.Context) error {
		state, err := j.SetPaused(c.Request().Context(), c.Param("queue"), paused, author(c))
		if err != nil {
			return err
		}
		return show(c, state)
	}
}

func oneJob(do func(ctx context.Context, queue, id string) (Job, error)) echo.HandlerFunc {
	return func(c echo.Context) error {
		job, err := do(c.Request().Context(), c.Param("queue"), c.Param("id"))
		if err != nil {
			return err
		}
		return show(c, job)
	}
}

// EnqueueOptions says what the listener of jobs.listen serves.
type EnqueueOptions struct {
	// Token returns the bearer token of apps. Where it is empty, only requests from loopback, and from no web page, are answered.
	Token func() string
	Jobs  Jobs
}

// NewEnqueue returns the handler of the listener on which apps enqueue, and which has nothing else.
func NewEnqueue(o EnqueueOptions) http.Handler {
	e := echo.New()
	e.HideBanner, e.HidePort = true, true
	e.HTTPErrorHandler = writeError
	e.Use(func(next echo.HandlerFunc) echo.HandlerFunc {
		return func(c echo.Context) error {
			switch token := o.Token(); {
			case token != "" && !hasToken(c.Request(), token):
				c.Response().Header().Set("WWW-Authenticate", `Bearer realm="headgate jobs"`)
				return echo.NewHTTPError(http.StatusUnauthorized, "To enqueue takes the token: Authorization: Bearer TOKEN, as jobs.token has it.")
			case token == "":
				if why := foreign(c.Request()); why != "" {
					return echo.NewHTTPError(http.StatusForbidden, why+" Set jobs.token to enqueue from elsewhere.")
				}
			}
			return next(c)
		}
	}, limitBody)
	e.POST("/jobs/:queue", enqueue(o.Jobs))
	return e
}

// hasToken compares a request's bearer token in constant time.
func hasToken(r *http.Request, token string) bool {
	want, got := sha256.Sum256([]byte(token)), sha256.Sum256([]byte(bearer(r.Header)))
	return subtle.ConstantTimeCompare(got[:], want[:]) == 1
}

// enqueues reports whether a request is one that jobs.token is for.
func enqueues(c echo.Context) bool {
	return c.Request().Method == http.MethodPost && c.Path() == "/jobs/:queue"
}

// enqueued is the answer to what an app has enqueued.
type enqueued struct {
	IDs []string `json:"ids"`
}

func enqueue(j Jobs) echo.HandlerFunc {
	return func(c echo.Context) error {
		specs, err := readJobs(c.Request().Body)
		if err != nil {
			return err
		}
		ids, err := j.Enqueue(c.Request().Context(), c.Param("queue"), specs)
		if err != nil {
			return err
		}
		c.Response().Header().Set("Cache-Control", "no-store")
		return c.JSON(http.StatusAccepted, enqueued{ids})
	}
}
