package admin

import (
	"context"
	"net/http"
	"strconv"
	"time"

	"github.com/labstack/echo/v4"
)

// Policy is what the admin API asks about the running policy.
type Policy interface {
	// Running returns what runs.
	Running() Running
	// Reload loads the policy's files, runs what they say if that differs from
	// what runs, and reports whether it did. ErrRefused means that the files cannot run, ErrHeld that
	// they have not changed since a rollback; the policy from before runs on.
	// endRollback runs the files all the same. by says who asked.
	Reload(ctx context.Context, by string, endRollback bool) (changed bool, err error)
	// History returns the last policies that ran, the newest first.
	History() []Revision
	// Rollback runs a policy of the history again, until the policy's files
	// change or a reload ends it.
	Rollback(ctx context.Context, number int, by string) error
	// Explain says how the gateway would handle a request at this moment, and
	// consumes nothing. The result is encoded as JSON.
	Explain(ctx context.Context, q Question) (any, error)
}

// Running is the policy that runs, its secrets masked.
type Running struct {
	Number int       `json:"number"`
	Hash   string    `json:"hash"`
	Since  time.Time `json:"since"`
	By     string    `json:"by"`
	// Held is true while a rollback holds: what the policy's files say does not run. Note says so in words.
	Held bool   `json:"held,omitempty"`
	Note string `json:"note,omitempty"`
	// Error is why the last attempt to load a policy failed; empty if it did not.
	Error string `json:"last_reload_error,omitempty"`
	// Policy is the policy's text, with unexpanded variables and masked secrets.
	Policy string `json:"policy"`
}

// Revision is a policy that has run.
type Revision struct {
	Number  int       `json:"number"`
	Hash    string    `json:"hash"`
	Time    time.Time `json:"time"`
	By      string    `json:"by"`
	Running bool      `json:"running,omitempty"`
	// Held is true of the running policy while a rollback to it holds.
	Held bool `json:"held,omitempty"`
}

// Reloaded is the answer to a reload.
type Reloaded struct {
	// Reloaded is false where the policy's files say what runs already.
	Reloaded bool `json:"reloaded"`
	Running
}

// Question is a request to be explained.
type Question struct {
	Method, URL, IP string
	Header          http.Header
	// User and Session say whose live session the request carries, where the
	// caller knows: limits keyed by them use these. Session is the opaque reference.
	// Plan is the one that the app has put it on.
	User, Session, Plan string
	// Account is the one that the app will say was tried to log in to, where the caller knows.
	Account string
	// Body is the request's; of a QUERY, the cache's key has it.
	Body string
}

func showPolicy(p Policy) echo.HandlerFunc {
	return func(c echo.Context) error { return show(c, p.Running()) }
}

func reloadPolicy(p Policy) echo.HandlerFunc {
	return func(c echo.Context) error {
		file := c.QueryParam("file")
		if file != "" && file != "true" && file != "false" {
			return echo.NewHTTPError(http.StatusBadRequest, "file is true, to run the policy's files in spite of a rollback, or false.")
		}
		changed, err := p.Reload(c.Request().Context(), author(c), file == "true")
		if err != nil {
			return err
		}
		return show(c, Reloaded{changed, p.Running()})
	}
}

func policyHistory(p Policy) echo.HandlerFunc {
	return func(c echo.Context) error { return show(c, p.History()) }
}

func rollbackPolicy(p Policy) echo.HandlerFunc {
	return func(c echo.Context) error {
		number, err := strconv.Atoi(c.QueryParam("to"))
		if err != nil {
			return echo.NewHTTPError(http.StatusBadRequest, "Name the policy: /policy/rollback?to=NUMBER, with a number of /policy/history.")
		}
		if err := p.Rollback(c.Request().Context(), number, author(c)); err != nil {
			return err
		}
		return show(c, p.Running())
	}
}

func explain(p Policy) echo.HandlerFunc {
	return func(c echo.Context) error {
		q := Question{Method: c.QueryParam("method"), URL: c.QueryParam("url"), IP: c.QueryParam("ip"), Account: c.QueryParam("account"), Body: c.QueryParam("body"), Header: http.Header{}}
		for _, line := range c.QueryParams()["header"] {
			name, value, err := ParseHeader(line)
			if err != nil {
				return echo.NewHTTPError(http.StatusBadRequest, err.Error())
			}
			q.Header.Add(name, value)
		}
		answer, err := p.Explain(c.Request().Context(), q)
		if err != nil {
			return err
		}
		return show(c, answer)
	}
}

// author is the name that the caller gives itself, with the address it calls from.
func author(c echo.Context) string {
	if name := c.Request().Header.Get("Headgate-Author"); name != "" && len(name) <= 100 {
		return name + " at " + c.Request().RemoteAddr
	}
	return "admin API, " + c.Request().RemoteAddr
}
