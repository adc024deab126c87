package jobs_test

import (
	"context"
	"strings"
	"testing"
	"time"

	"github.com/headgate/headgate/middleware/jobs"
)

// planned runs the schedules of a zone over a span, with steps of ten minutes, and returns when jobs were enqueued, by the zone's clocks.
func planned(t *testing.T, cron string, from string, span time.Duration) (times []string) {
	t.Helper()
	berlin, err := time.LoadLocation("Europe/Berlin")
	if err != nil {
		t.Fatal(err)
	}
	clk := newClock()
	clk.at, err = time.ParseInLocation("2006-01-02 15:04", from, berlin)
	if err != nil {
		t.Fatal(err)
	}
	q := open(t, jobs.Options{
		Queues: one(jobs.Queue{}), Now: clk.now,
		Schedules: map[string]jobs.Schedule{"s": {Cron: cron, Timezone: "Europe/Berlin", Queue: "q", URL: "/tasks"}},
	})
	for end := clk.now().Add(span); clk.now().Before(end); clk.add(10 * time.Minute) {
		if _, err := q.Plan(t.Context()); err != nil {
			t.Fatal(err)
		}
		step(t, q, func(_ context.Context, job *jobs.Job, _ int) jobs.Answer {
			times = append(times, clk.now().In(berlin).Format("02 15:04 MST"))
			return jobs.Answer{Status: 200}
		})
	}
	return times
}

func TestSchedulesWhenTheClocksAreSet(t *testing.T) {
	t.Parallel()
	const spring, autumn = "2026-03-28 12:00", "2026-10-24 12:00"
	for name, c := range map[string]struct{ cron, from, want string }{
		"a time that spring skips comes after it":   {"30 2 * * *", spring, "29 03:30 CEST, 30 02:30 CEST"},
		"a time behind it comes once":               {"0 3 * * *", spring, "29 03:00 CEST, 30 03:00 CEST"},
		"a time that autumn shows twice comes once": {"30 2 * * *", autumn, "25 02:30 CEST, 26 02:30 CET"},
		"a list of hours as well":                   {"30 1-3 * * *", autumn, "25 01:30 CEST, 25 02:30 CEST, 25 03:30 CET, 26 01:30 CET, 26 02:30 CET, 26 03:30 CET"},
		"a list of hours and half hours":            {"*/30 1-3 25 10 *", autumn, "25 01:00 CEST, 25 01:30 CEST, 25 02:00 CEST, 25 02:30 CEST, 25 03:00 CET, 25 03:30 CET"},
		"every hour has one more in autumn":         {"0 */1 25 10 *", autumn, "25 00:00 CEST, 25 01:00 CEST, 25 02:00 CEST, 25 02:00 CET, 25 03:00 CET, 25 04:00 CET, 25 05:00 CET, 25 06:00 CET, 25 07:00 CET, 25 08:00 CET, 25 09:00 CET, 25 10:00 CET, 25 11:00 CET, 25 12:00 CET, 25 13:00 CET, 25 14:00 CET, 25 15:00 CET, 25 16:00 CET, 25 17:00 CET, 25 18:00 CET, 25 19:00 CET, 25 20:00 CET, 25 21:00 CET, 25 22:00 CET, 25 23:00 CET"},
		"a month's day":                             {"0 4 1 11 *", autumn, ""},
		"every so often is counted from 1970":       {"@every 12h", autumn, "24 14:00 CEST, 25 02:00 CEST, 25 13:00 CET, 26 01:00 CET"},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			got := strings.Join(planned(t, c.cron, c.from, 41*time.Hour), ", ")
			if got != c.want {
				t.Fatalf("enqueued at %s, want %s", got, c.want)
			}
		})
	}
}

func TestAScheduleOfEachMinuteRunsOnceOverThreeInstances(t *testing.T) {
	t.Parallel()
	onBoth(t, func(t *testing.T, b *bed) {
		instances := b.fleet(3, one(jobs.Queue{Concurrency: 1}), map[string]jobs.Schedule{"s": {Cron: "* * * * *", Queue: "q", URL: "/tasks"}})
		ran := 0
		runner := func(context.Context, *jobs.Job, int) jobs.Answer { ran++; return jobs.Answer{Status: 200} }
		plan := func() {
			for _, q := range instances {
				if _, err := q.Plan(t.Context()); err != nil {
					t.Fatal(err)
				}
			}
			step(t, instances[ran%3], runner)
		}
		plan()
		for range 60 * 4 {
			b.clock.add(15 * time.Second)
			plan()
		}
		if ran != 60 {
			t.Fatalf("ran %d times in an hour", ran)
		}
	})
}

func TestMissedTimes(t *testing.T) {
	t.Parallel()
	onBoth(t, func(t *testing.T, b *bed) {
		b.clock.at = time.Date(2026, 11, 28, 12, 30, 0, 0, time.UTC)
		schedule := func(missed jobs.Missed, url string) jobs.Schedule {
			return jobs.Schedule{Cron: "0 * * * *", Queue: "q", URL: url, Missed: missed}
		}
		q := b.fleet(1, one(jobs.Queue{}), map[string]jobs.Schedule{"catch": schedule(jobs.CatchUp, "/catch"), "skip": schedule(jobs.Skip, "/skip")})[0]
		ran := func() (urls string) {
			if _, err := q.Plan(t.Context()); err != nil {
				t.Fatal(err)
			}
			step(t, q, func(_ context.Context, job *jobs.Job, _ int) jobs.Answer {
				urls += job.URL
				return jobs.Answer{Status: 200}
			})
			return urls
		}
		if got := ran(); got != "" {
			t.Fatalf("a schedule that was just made ran %s", got)
		}
		b.clock.add(5*time.Hour + 10*time.Minute) // five times are missed
		if got := ran(); got != "/catch" {
			t.Fatalf("ran %q for five missed times", got)
		}
		b.clock.add(20 * time.Minute)
		if got := ran(); got != "/catch/skip" && got != "/skip/catch" {
			t.Fatalf("ran %q on time", got)
		}
		if got := ran(); got != "" {
			t.Fatalf("ran %q twice", got)
		}
	})
}

func TestOverlap(t *testing.T) {
	t.Parallel()
	onBoth(t, func(t *testing.T, b *bed) {
		q := b.fleet(1, one(jobs.Queue{}), map[string]jobs.Schedule{
			"alone":    {Cron: "* * * * *", Queue: "q", URL: "/alone"},
			"together": {Cron: "* * * * *", Queue: "q", URL: "/together", Overlap: true},
		})[0]
		for range 4 {
			if _, err := q.Plan(t.Context()); err != nil {
				t.Fatal(err)
			}
			b.clock.add(time.Minute)
		}
		count := map[string]int{}
		step(t, q, func(_ context.Context, job *jobs.Job, _ int) jobs.Answer {
			count[job.Schedule]++
			return jobs.Answer{Status: 200}
		})
		if count["alone"] != 1 || count["together"] != 3 {
			t.Fatalf("waiting: %v", count)
		}
	})
}
