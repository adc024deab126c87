package jobs

import (
	"fmt"
	"net/http"
	"strings"
	"time"

	"github.com/headgate/headgate/internal/httpx"
	"github.com/headgate/headgate/middleware/problem"
	"github.com/netresearch/go-cron"
)

// Schedule enqueues a job at the times of a cron expression: once over all gateways.
type Schedule struct {
	// Name is part of the schedule's state in Redis: renamed, it starts afresh. Required.
	Name string `yaml:"-"`
	// Minute, hour, day of the month, month, day of the week, as crontab has them, or @hourly, @daily, @weekly, @monthly, @yearly, or @every 90s. Required.
	// A time that the clocks skip in spring comes when they have been set forward. One that they show twice in autumn comes once, unless the hour is * or */n.
	Cron string `yaml:"cron" required:"write it like 0 3 * * *"`
	// Where those times are meant: a name of the IANA time zone database. Default UTC.
	Timezone string `yaml:"timezone"`
	// The queue. Required.
	Queue string `yaml:"queue" required:"name the queue that its jobs go to"`
	// Default POST.
	Method string `yaml:"method"`
	// The path, and query, that the app server is asked for. Required.
	URL string `yaml:"url" required:"write it like /tasks/nightly"`
	// The upstream whose app servers do the job. Required.
	Upstream string `yaml:"upstream" required:"name the upstream whose app servers do the job"`
	// Header fields of the request. Default: none.
	Headers map[string]string `yaml:"headers" config:"headers"`
	// The request's body. Default "".
	Body string `yaml:"body"`
	// What becomes of times that passed while no gateway worked: catch_up runs one job for all of them, skip none. Default catch_up.
	Missed Missed `yaml:"missed"`
	// Enqueue a job while the one of before is not over. By default that time is left out, so that never two of them run at once. Default false.
	Overlap bool `yaml:"overlap"`
}

// Missed is what becomes of a schedule's times that passed while nothing enqueued its jobs.
type Missed string

const (
	CatchUp Missed = "catch_up"
	Skip    Missed = "skip"
)

// Values are the words of a policy.
func (Missed) Values() []string { return []string{string(CatchUp), string(Skip)} }

// SetDefaults fills in what is zero and has a default.
func (s *Schedule) SetDefaults() {
	orDefault(&s.Timezone, "UTC")
	orDefault(&s.Method, http.MethodPost)
	orDefault(&s.Missed, CatchUp)
}

// Validate says everything that is wrong with a schedule whose defaults are set. Whether its queue and its upstream
// exist is not known here.
func (s *Schedule) Validate() []problem.Problem {
	var l problem.List
	if !problem.IsName(s.Name) {
		l.Add("", problem.MendName, "%s can't be the name of a schedule", problem.Quote(s.Name))
	}
	if _, err := s.location(); err != nil {
		l.Add("timezone", "write a name like Europe/Berlin, or UTC", "no time zone has the name %s", problem.Quote(s.Timezone))
	} else if _, err := s.times(); err != nil {
		l.Add("cron", "write it like 0 3 * * *: minute, hour, day of the month, month, day of the week", "%v", err)
	}
	if s.Queue == "" {
		l.Add("queue", "name the queue that its jobs go to", "the schedule has no queue")
	}
	if !httpx.IsToken(s.Method) {
		l.Add("method", "write GET, POST or the like", "%s is not a method", problem.Quote(s.Method))
	}
	problem.LocalPath(&l, "url", s.URL)
	problem.Word(&l, "missed", s.Missed)
	for name, value := range s.Headers {
		if reason := unfit(name, value); reason != "" {
			l.Add(problem.Key("headers", name), "remove it", "%s", reason)
		}
	}
	return l
}

func (s *Schedule) location() (*time.Location, error) {
	if s.Timezone == "Local" { // which would differ between gateways
		return nil, fmt.Errorf("unknown time zone %s", s.Timezone)
	}
	return time.LoadLocation(s.Timezone)
}

// times returns the times of a schedule.
func (s *Schedule) times() (*times, error) {
	location, err := s.location()
	if err != nil {
		return nil, err
	}
	if strings.HasPrefix(s.Cron, "TZ=") || strings.HasPrefix(s.Cron, "CRON_TZ=") {
		return nil, fmt.Errorf("the time zone is no part of a cron expression here")
	}
	spec, err := cron.ParseStandard(s.Cron)
	if err != nil {
		return nil, err
	}
	t := &times{spec: spec, location: location}
	if every, ok := strings.CutPrefix(s.Cron, "@every "); ok {
		if t.every, err = time.ParseDuration(every); err != nil || t.every < time.Second {
			return nil, fmt.Errorf("@every needs a duration of a second or more")
		}
		t.every = t.every.Truncate(time.Second)
	}
	if fields := strings.Fields(s.Cron); len(fields) == 5 {
		t.everyHour = strings.HasPrefix(fields[1], "*")
	} else {
		t.everyHour = s.Cron == "@hourly"
	}
	if t.next(time.Now()).IsZero() {
		return nil, fmt.Errorf("%s never comes", problem.Quote(s.Cron))
	}
	return t, nil
}

// times are a cron expression in a time zone.
type times struct {
	spec      cron.Schedule
	location  *time.Location
	every     time.Duration // of @every, counted from 1970 so that all instances agree; else 0
	everyHour bool          // the expression leaves the hour open
}

// next returns the first time after t, zero if there is none within years.
func (ts *times) next(t time.Time) time.Time {
	if ts.every > 0 {
		return t.Truncate(time.Second).Add(ts.every - time.Duration(t.Unix()%int64(ts.every/time.Second))*time.Second)
	}
	t = t.In(ts.location)
	for {
		t = ts.spec.Next(t)
		if t.IsZero() || ts.everyHour || !repeated(t) {
			return t
		}
	}
}

// repeated reports whether t is the second time that the clocks show t's hour and minute on that day, having been set back.
func repeated(t time.Time) bool {
	_, now := t.Zone()
	_, before := t.Add(-3 * time.Hour).Zone()
	if before <= now {
		return false
	}
	first := t.Add(time.Duration(now-before) * time.Second)
	_, then := first.Zone()
	return then == before
}
