package jobs_test

import (
	"context"
	"fmt"
	"io"
	"log"
	"net/http"
	"net/http/httptest"
	"strings"
	"time"

	"github.com/headgate/headgate/middleware/jobs"
	"github.com/labstack/echo/v4"
)

// An Echo app that takes jobs, works them with a function of its own, and tells how they stand.
func Example() {
	queues, err := jobs.New(jobs.Options{Queues: map[string]jobs.Queue{"mails": {Concurrency: 2, Retries: 5}}})
	if err != nil {
		log.Fatal(err)
	}
	defer queues.Close()

	e := echo.New()
	e.POST("/orders", func(c echo.Context) error {
		body, err := io.ReadAll(c.Request().Body)
		if err != nil {
			return err
		}
		taken, err := queues.Take(c.Request().Context(), "mails", jobs.Spec{URL: "/confirmation", Body: body, Key: c.Request().Header.Get("Idempotency-Key")})
		if err != nil {
			return echo.NewHTTPError(http.StatusServiceUnavailable).SetInternal(err)
		}
		c.Response().Header().Set("Location", "/jobs/"+taken.ID)
		return c.NoContent(http.StatusAccepted)
	})
	e.GET("/jobs/:id", func(c echo.Context) error {
		job, err := queues.Wait(c.Request().Context(), c.Param("id"), 20*time.Second)
		if err != nil {
			return echo.ErrNotFound
		}
		return c.String(http.StatusOK, string(job.Status))
	})

	ctx, stop := context.WithCancel(context.Background())
	stopped := make(chan struct{})
	go func() {
		defer close(stopped)
		queues.Work(ctx, func(_ context.Context, job *jobs.Job, attempt int) jobs.Answer {
			fmt.Printf("attempt %d: mail %s\n", attempt, job.Body)
			return jobs.Answer{Status: http.StatusOK}
		}, jobs.WorkOptions{Grace: 20 * time.Second})
	}()

	accepted := httptest.NewRecorder()
	e.ServeHTTP(accepted, httptest.NewRequest(http.MethodPost, "/orders", strings.NewReader("order 7")))
	status := httptest.NewRecorder()
	e.ServeHTTP(status, httptest.NewRequest(http.MethodGet, accepted.Header().Get("Location"), nil))
	fmt.Println(accepted.Code, status.Body)
	stop()
	<-stopped
	// Output:
	// attempt 1: mail order 7
	// 202 done
}
