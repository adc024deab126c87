package cache_test

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/labstack/echo/v4"

	"github.com/headgate/headgate/middleware/cache"
)

// appError is an error of an app's own, which its HTTPErrorHandler knows.
type appError struct{ status int }

func (e *appError) Error() string { return fmt.Sprint("the app's own error: ", e.status) }

// answerErrors makes of the app's errors what they say, in its own form.
func (s *site) answerErrors() {
	s.server.Config.Handler.(*echo.Echo).HTTPErrorHandler = func(err error, c echo.Context) {
		var own *appError
		switch {
		case c.Response().Committed:
		case errors.As(err, &own) && own.status == http.StatusSeeOther:
			_ = c.Redirect(own.status, "/login")
		case errors.As(err, &own):
			_ = c.String(own.status, own.Error())
		default:
			c.Echo().DefaultHTTPErrorHandler(err, c)
		}
	}
}

// Whether a stale answer stands in for an error goes by what the app's HTTPErrorHandler writes.
func TestStaleStandsInForWhatTheAppWritesAsItsFailure(t *testing.T) {
	t.Parallel()
	for _, tc := range []struct {
		err    error
		status int // 200: the stale answer
	}{
		{&appError{303}, 303},
		{&appError{401}, 401},
		{&appError{404}, 404},
		{&appError{410}, 410},
		{&appError{500}, 200},
		{&appError{503}, 200},
		{echo.NewHTTPError(502).SetInternal(&appError{303}), 303},
		{echo.NewHTTPError(404), 404},
		{errors.New("the database is away"), 200},
	} {
		t.Run(tc.err.Error(), func(t *testing.T) {
			t.Parallel()
			s := newSite(t)
			s.answerErrors()
			s.serves(200, "old", "Cache-Control: max-age=10")
			s.get("/x")
			s.clock.step(20 * time.Second)
			s.originIs(func(echo.Context) error { return tc.err })
			for range 2 {
				a := s.get("/x")
				if a.StatusCode != tc.status || (a.body == "old") != (tc.status == 200) {
					t.Errorf("%d %q, want %d", a.StatusCode, a.body, tc.status)
				}
			}
		})
	}
}

// An error that the app's handler answers with a page of its own, a 200, is no outage either.
func TestStaleDoesNotStandInForThePageThatAnErrorIs(t *testing.T) {
	t.Parallel()
	s := newSite(t)
	s.answerErrors()
	s.serves(200, "old", "Cache-Control: max-age=10")
	s.get("/x")
	s.clock.step(20 * time.Second)
	s.originIs(func(echo.Context) error { return &appError{200} })
	if a := s.get("/x"); a.body == "old" {
		t.Errorf("%d %q", a.StatusCode, a.body)
	}
}

// An error of the app's own that it writes as 503 is for all who wait; one that it writes as 401 is not.
func TestWhoWaitsSharesWhatTheAppWritesAsAnOutage(t *testing.T) {
	t.Parallel()
	for status, shared := range map[int]bool{503: true, 401: false} {
		s := newSite(t)
		s.answerErrors()
		g := newGate()
		s.originIs(func(c echo.Context) error {
			g.wait()
			return &appError{status}
		})
		go func() {
			<-g.entered
			s.awaitWaiting(20)
			g.release()
		}()
		for _, a := range crowd(t, 20, func(int) (*answer, error) { return s.try(context.Background(), "GET", "/x") }) {
			if a.StatusCode != status {
				t.Fatalf("status %d, want %d", a.StatusCode, status)
			}
		}
		if calls := s.calls.Load(); (calls == 1) != shared {
			t.Errorf("%d: the app was asked %d times", status, calls)
		}
	}
}

// A handler of errors that panics does so for its client, and nowhere else.
func TestAHandlerOfErrorsThatPanicsHarmsNoOther(t *testing.T) {
	t.Parallel()
	c, err := cache.New(cache.Options{})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { c.Close() })
	e := echo.New()
	e.Use(c.Middleware(cache.Rule{Name: "r"}, cache.MiddlewareOptions{}))
	e.GET("/x", func(echo.Context) error { return &appError{500} })
	e.HTTPErrorHandler = func(error, echo.Context) { panic("boom") }
	defer func() {
		if p := recover(); p != "boom" {
			t.Errorf("recovered %v", p)
		}
	}()
	e.ServeHTTP(httptest.NewRecorder(), httptest.NewRequest("GET", "/x", nil))
	t.Error("no panic")
}

// An answer that the origin breaks off before anything of it has gone out has failed: the stale one stands in.
func TestStaleStandsInForAnAnswerThatIsCutShort(t *testing.T) {
	t.Parallel()
	cut := func(head func(http.Header), body string, end func()) func(http.ResponseWriter, *http.Request) {
		return func(w http.ResponseWriter, _ *http.Request) {
			w.Header().Set("Cache-Control", "max-age=10")
			head(w.Header())
			_, _ = w.Write([]byte(body))
			end()
		}
	}
	tenBytes := func(h http.Header) { h.Set("Content-Length", "10") }
	abort := func() { panic(http.ErrAbortHandler) }
	for name, tc := range map[string]struct {
		origin       func(http.ResponseWriter, *http.Request)
		cacheControl string
		want         string // "": the client is cut off
	}{
		"within its length":          {cut(tenBytes, "hello", abort), "max-age=10, stale-if-error=60", "old"},
		"before its body":            {cut(tenBytes, "", abort), "max-age=10, stale-if-error=60", "old"},
		"without a word":             {cut(tenBytes, "hello", func() {}), "max-age=10, stale-if-error=60", "old"},
		"without a length":           {cut(func(http.Header) {}, "hello", abort), "max-age=10, stale-if-error=60", "old"},
		"not covered":                {cut(tenBytes, "hello", abort), "max-age=10", ""},
		"whole":                      {cut(tenBytes, "0123456789", func() {}), "max-age=10, stale-if-error=60", "0123456789"},
		"whole, without a length":    {cut(func(http.Header) {}, "0123456789", func() {}), "max-age=10, stale-if-error=60", "0123456789"},
		"empty":                      {cut(func(h http.Header) { h.Set("Content-Length", "0") }, "", func() {}), "max-age=10, stale-if-error=60", ""},
		"larger than what is waited": {cut(func(http.Header) {}, strings.Repeat("x", 200<<10), func() {}), "max-age=10, stale-if-error=60", strings.Repeat("x", 200<<10)},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			s := newSite(t)
			s.serves(200, "old", "Cache-Control: "+tc.cacheControl)
			s.get("/x")
			s.clock.step(20 * time.Second)
			s.respond(tc.origin)
			a, err := s.try(context.Background(), "GET", "/x")
			switch {
			case name == "not covered":
				if err == nil {
					t.Errorf("the client is given %d %q", a.StatusCode, a.body)
				}
			case err != nil || a.StatusCode != 200 || a.body != tc.want:
				t.Errorf("%+v, %v", a, err)
			}
			if tc.want == "old" && !strings.Contains(a.cacheStatus(), "detail=cut-short") {
				t.Errorf("Cache-Status: %s", a.cacheStatus())
			}
		})
	}
}

// What the origin flushes, or is slow to complete, is not held back.
func TestAnAnswerIsNotHeldForLong(t *testing.T) {
	t.Parallel()
	for name, flush := range map[string]bool{"flushed": true, "slow": false} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			s := newSite(t)
			s.serves(200, "old", "Cache-Control: max-age=10, stale-if-error=60")
			s.get("/x")
			s.clock.step(20 * time.Second)
			g := newGate()
			half := strings.Repeat("x", 8<<10) // more than net/http gathers before it sends
			s.respond(func(w http.ResponseWriter, _ *http.Request) {
				w.Header().Set("Cache-Control", "max-age=10")
				w.Header().Set("Content-Length", strconv.Itoa(2*len(half)))
				_, _ = io.WriteString(w, half)
				if flush {
					w.(http.Flusher).Flush()
				}
				g.wait()
				_, _ = io.WriteString(w, half)
			})
			res, err := s.client.Get(s.server.URL + "/x") // returns with the head, while the body is yet to come
			if err != nil {
				t.Fatal(err)
			}
			defer res.Body.Close()
			g.release()
			if body, err := io.ReadAll(res.Body); err != nil || string(body) != half+half {
				t.Errorf("%d bytes, %v", len(body), err)
			}
		})
	}
}
