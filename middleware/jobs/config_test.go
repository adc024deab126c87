package jobs_test

import (
	"errors"
	"net/http"
	"strings"
	"testing"
	"time"

	"github.com/headgate/headgate/middleware/jobs"
	"github.com/headgate/headgate/middleware/problem"
)

// mistakes are the paths of problems that are errors.
func mistakes(all []problem.Problem) string {
	var paths []string
	for _, p := range all {
		if !p.Warning {
			paths = append(paths, p.Path)
		}
	}
	return strings.Join(paths, " ")
}

func TestMistakesInQueues(t *testing.T) {
	t.Parallel()
	for name, c := range map[string]struct {
		queue jobs.Queue
		want  string
	}{
		"nothing but a name":      {jobs.Queue{}, ""},
		"no retries":              {jobs.Queue{Retries: -1}, ""},
		"a name with a brace":     {jobs.Queue{Name: "a}b"}, "?"},
		"negative concurrency":    {jobs.Queue{Concurrency: -1}, "concurrency"},
		"too many retries":        {jobs.Queue{Retries: 1_000_000}, "retries"},
		"most below first":        {jobs.Queue{Backoff: jobs.Backoff{First: time.Minute, Most: time.Second}}, "backoff.most"},
		"a long first":            {jobs.Queue{Backoff: jobs.Backoff{First: time.Hour}}, ""},
		"negative durations":      {jobs.Queue{Timeout: -1, Keep: -1, MaxAge: -1}, "timeout keep max_age"},
		"years":                   {jobs.Queue{Keep: 20_000 * time.Hour}, "keep"},
		"no room for a body":      {jobs.Queue{MaxBody: 1 << 20, MaxBytes: 1 << 20}, "max_bytes"},
		"a body beyond all bound": {jobs.Queue{MaxBody: 1 << 30, MaxBytes: 1 << 40}, "max_body"},
	} {
		q := c.queue
		if q.Name == "" {
			q.Name = "q"
		}
		q.SetDefaults()
		if c.want == "?" {
			c.want = ""
			if len(q.Validate()) != 1 {
				t.Errorf("%s: %v", name, q.Validate())
			}
			continue
		}
		if got := mistakes(q.Validate()); got != c.want {
			t.Errorf("%s: mistakes in %q, want %q", name, got, c.want)
		}
	}
}

func TestMistakesInSchedules(t *testing.T) {
	t.Parallel()
	for name, c := range map[string]struct {
		change func(*jobs.Schedule)
		want   string
	}{
		"none":                 {func(*jobs.Schedule) {}, ""},
		"@daily":               {func(s *jobs.Schedule) { s.Cron = "@daily" }, ""},
		"@every":               {func(s *jobs.Schedule) { s.Cron = "@every 90s" }, ""},
		"@every too often":     {func(s *jobs.Schedule) { s.Cron = "@every 10ms" }, "cron"},
		"seconds":              {func(s *jobs.Schedule) { s.Cron = "0 0 3 * * *" }, "cron"},
		"no hour 24":           {func(s *jobs.Schedule) { s.Cron = "0 24 * * *" }, "cron"},
		"February 30":          {func(s *jobs.Schedule) { s.Cron = "0 0 30 2 *" }, "cron"},
		"a zone in the cron":   {func(s *jobs.Schedule) { s.Cron = "TZ=Europe/Berlin 0 3 * * *" }, "cron"},
		"no such zone":         {func(s *jobs.Schedule) { s.Timezone = "Europe/Bielefeld" }, "timezone"},
		"the machine's zone":   {func(s *jobs.Schedule) { s.Timezone = "Local" }, "timezone"},
		"no queue":             {func(s *jobs.Schedule) { s.Queue = "" }, "queue"},
		"another site":         {func(s *jobs.Schedule) { s.URL = "https://evil.example/" }, "url"},
		"no method":            {func(s *jobs.Schedule) { s.Method = "P T" }, "method"},
		"a word":               {func(s *jobs.Schedule) { s.Missed = "later" }, "missed"},
		"a field of another's": {func(s *jobs.Schedule) { s.Headers = map[string]string{"headgate-user": "root"} }, "headers.headgate-user"},
	} {
		s := jobs.Schedule{Name: "s", Cron: "0 3 * * *", Queue: "q", URL: "/tasks"}
		c.change(&s)
		s.SetDefaults()
		if got := mistakes(s.Validate()); got != c.want {
			t.Errorf("%s: mistakes in %q, want %q", name, got, c.want)
		}
	}
	if _, err := jobs.New(jobs.Options{Schedules: map[string]jobs.Schedule{"s": {Cron: "@daily", Queue: "q", URL: "/"}}}); !errors.Is(err, jobs.ErrNoQueue) {
		t.Errorf("a schedule of a queue that is not there: %v", err)
	}
}

func TestMistakesInJobs(t *testing.T) {
	t.Parallel()
	q := open(t, jobs.Options{Queues: one(jobs.Queue{})})
	for name, c := range map[string]struct {
		spec jobs.Spec
		want string
	}{
		"none":              {jobs.Spec{URL: "/do?x=1"}, ""},
		"no path":           {jobs.Spec{URL: "do"}, "url"},
		"a line feed":       {jobs.Spec{URL: "/do\r\nX: y"}, "url"},
		"a method":          {jobs.Spec{URL: "/", Method: "G T"}, "method"},
		"delay and at":      {jobs.Spec{URL: "/", Delay: 1, At: time.Now()}, "delay"},
		"a negative delay":  {jobs.Spec{URL: "/", Delay: -1}, "delay"},
		"the far future":    {jobs.Spec{URL: "/", At: time.Date(9999, 1, 1, 0, 0, 0, 0, time.UTC)}, "at"},
		"another site":      {jobs.Spec{URL: "//evil.example/"}, "url"},
		"a forwarded field": {jobs.Spec{URL: "/", Header: http.Header{"X-Forwarded-For": {"192.0.2.1"}}}, "headers.X-Forwarded-For"},
		"the gateway's":     {jobs.Spec{URL: "/", Header: http.Header{"Headgate-User": {"root"}}}, "headers.Headgate-User"},
		"hop by hop":        {jobs.Spec{URL: "/", Header: http.Header{"Connection": {"close"}}}, "headers.Connection"},
		"a value":           {jobs.Spec{URL: "/", Header: http.Header{"X-A": {"a\r\nb"}}}, "headers.X-A"},
	} {
		if got := mistakes(c.spec.Validate()); got != c.want {
			t.Errorf("%s: mistakes in %q, want %q", name, got, c.want)
		}
		_, err := q.Take(t.Context(), "q", c.spec)
		refused := c.want != "" && !strings.HasPrefix(c.want, "headers") && name != "another site"
		if errors.Is(err, jobs.ErrSpec) != refused {
			t.Errorf("%s: %v", name, err)
		}
	}
	if _, err := q.Take(t.Context(), "none", jobs.Spec{URL: "/"}); !errors.Is(err, jobs.ErrNoQueue) {
		t.Error(err)
	}
	for _, id := range []string{"", "q", "q-", "none-0123456789abcdefghjkmnpqrs", "q-0123456789ABCDEFGHJKMNPQRS", "q-0123456789abcdefghjkmnpqr}"} {
		if _, err := q.Get(t.Context(), id); !errors.Is(err, jobs.ErrNotFound) {
			t.Errorf("%q: %v", id, err)
		}
	}
}
