package jobs_test

import (
	"context"
	"errors"
	"net/http"
	"net/netip"
	"strings"
	"testing"
	"time"

	"github.com/headgate/headgate/middleware/jobs"
)

func TestAJobIsTakenRunAndAnswered(t *testing.T) {
	t.Parallel()
	onBoth(t, func(t *testing.T, b *bed) {
		q := b.open(one(jobs.Queue{}))
		id := take(t, q, jobs.Spec{
			Method: "PUT", URL: "/images/7?size=2", Upstream: "shop", Route: "resize", Body: []byte("pixels"),
			Header: http.Header{"Content-Type": {"image/png"}, "Cookie": {"a=b"}, "Authorization": {"Basic x"}, "Connection": {"X-Hop"}, "X-Hop": {"1"}},
			Owner:  jobs.Owner{User: "anna", Host: "shop.example"},
		})
		job := get(t, q, id)
		if job.Status != jobs.Queued || job.Place != 1 || job.Attempts != 0 || !job.Created.Equal(b.clock.now()) {
			t.Fatalf("taken: %+v", job)
		}
		if _, err := q.Result(t.Context(), id); !errors.Is(err, jobs.ErrNotOver) {
			t.Fatalf("a result before there is one: %v", err)
		}
		step(t, q, func(_ context.Context, job *jobs.Job, attempt int) jobs.Answer {
			if job.Method != "PUT" || job.URL != "/images/7?size=2" || job.Upstream != "shop" || job.Route != "resize" || string(job.Body) != "pixels" || attempt != 1 {
				t.Errorf("the runner was given %+v, attempt %d", job, attempt)
			}
			if len(job.Header) != 1 || job.Header.Get("Content-Type") != "image/png" {
				t.Errorf("the request has the fields %v", job.Header)
			}
			return jobs.Answer{Status: 201, Body: []byte("small"), Header: http.Header{
				"Content-Type": {"text/plain"}, "Set-Cookie": {"a=b"}, "Headgate-Login": {"anna"}, "Transfer-Encoding": {"chunked"},
			}}
		})
		job = get(t, q, id)
		if job.Status != jobs.Done || job.Attempts != 1 || job.AppStatus != 201 || job.Reason != "" || job.Owner.User != "anna" {
			t.Fatalf("done: %+v", job)
		}
		res, err := q.Result(t.Context(), id)
		if err != nil || res.Status != 201 || string(res.Body) != "small" || len(res.Header) != 1 || res.Truncated {
			t.Fatalf("the result is %+v, %v", res, err)
		}
		b.clock.add(jobs.DefaultKeep)
		if _, err := q.Get(t.Context(), id); !errors.Is(err, jobs.ErrNotFound) {
			t.Fatalf("after keep: %v", err)
		}
	})
}

func TestWhatBecomesOfAJobByItsAnswer(t *testing.T) {
	t.Parallel()
	for name, c := range map[string]struct {
		answer   jobs.Answer
		status   jobs.Status
		attempts int
		pause    time.Duration // the most until the next attempt; at least half of it
		exactly  bool
	}{
		"200":                     {jobs.Answer{Status: 200}, jobs.Done, 1, 0, false},
		"204":                     {jobs.Answer{Status: 204}, jobs.Done, 1, 0, false},
		"a redirect is final":     {jobs.Answer{Status: 303}, jobs.Failed, 1, 0, false},
		"404":                     {jobs.Answer{Status: 404}, jobs.Failed, 1, 0, false},
		"408":                     {jobs.Answer{Status: 408}, jobs.Waiting, 1, 2 * time.Second, false},
		"425":                     {jobs.Answer{Status: 425}, jobs.Waiting, 1, 2 * time.Second, false},
		"429":                     {jobs.Answer{Status: 429}, jobs.Waiting, 1, 2 * time.Second, false},
		"500":                     {jobs.Answer{Status: 500}, jobs.Waiting, 1, 2 * time.Second, false},
		"503 with Retry-After":    {jobs.Answer{Status: 503, Header: http.Header{"Retry-After": {"3600"}}}, jobs.Waiting, 1, time.Hour, true},
		"a shorter Retry-After":   {jobs.Answer{Status: 503, Header: http.Header{"Retry-After": {"0"}}}, jobs.Waiting, 1, 2 * time.Second, false},
		"sent, and no answer":     {jobs.Answer{Sent: true}, jobs.Waiting, 1, 2 * time.Second, false},
		"no connection":           {jobs.Answer{}, jobs.Waiting, 0, 2 * time.Second, false},
		"no server takes any":     {jobs.Answer{Unavailable: true}, jobs.Waiting, 0, 2 * time.Second, false},
		"Retry-After beyond age":  {jobs.Answer{Status: 503, Header: http.Header{"Retry-After": {"90000"}}}, jobs.Failed, 1, 0, false},
		"a mistaken Retry-After":  {jobs.Answer{Status: 503, Header: http.Header{"Retry-After": {"-5"}}}, jobs.Waiting, 1, 2 * time.Second, false},
		"Retry-After with a date": {jobs.Answer{Status: 503, Header: http.Header{"Retry-After": {"Sat, 28 Nov 2026 13:00:00 GMT"}, "Date": {"Sat, 28 Nov 2026 12:00:00 GMT"}}}, jobs.Waiting, 1, time.Hour, true},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			clk := newClock()
			q := open(t, jobs.Options{Queues: one(jobs.Queue{}), Now: clk.now})
			id := take(t, q, jobs.Spec{})
			step(t, q, answering(c.answer))
			job := get(t, q, id)
			if job.Status != c.status || job.Attempts != c.attempts {
				t.Fatalf("status %s after %d attempts, want %s after %d", job.Status, job.Attempts, c.status, c.attempts)
			}
			least := c.pause / 2
			if c.exactly {
				least = c.pause
			}
			if pause := job.Due.Sub(clk.now()); c.pause > 0 && (pause < least || pause > c.pause) {
				t.Errorf("the next attempt comes after %v, want %v to %v", pause, least, c.pause)
			}
			if job.Status == jobs.Failed && job.Reason == "" {
				t.Error("nothing says why it failed")
			}
		})
	}
}

func TestAttemptsEnd(t *testing.T) {
	t.Parallel()
	onBoth(t, func(t *testing.T, b *bed) {
		q := b.open(one(jobs.Queue{Retries: 2, Backoff: jobs.Backoff{First: time.Second, Most: 2 * time.Second}}))
		id := take(t, q, jobs.Spec{})
		var seen []int
		runner := func(_ context.Context, _ *jobs.Job, attempt int) jobs.Answer {
			seen = append(seen, attempt)
			return jobs.Answer{Status: 500, Body: []byte("no")}
		}
		for range 5 {
			step(t, q, runner)
			b.clock.add(2 * time.Second)
		}
		job := get(t, q, id)
		if job.Status != jobs.Failed || len(seen) != 3 || seen[2] != 3 {
			t.Fatalf("%s after the attempts %v", job.Status, seen)
		}
		if res, err := q.Result(t.Context(), id); err != nil || res.Status != 500 || string(res.Body) != "no" {
			t.Fatalf("the last answer is %+v, %v", res, err)
		}
		dead, err := q.List(t.Context(), "q", jobs.Failed, jobs.Page{})
		if err != nil || len(dead) != 1 || dead[0].ID != id {
			t.Fatalf("dead letters: %+v, %v", dead, err)
		}
		if n, err := q.RetryFailed(t.Context(), "q"); n != 1 || err != nil {
			t.Fatalf("retried %d, %v", n, err)
		}
		step(t, q, answering(jobs.Answer{Status: 200}))
		if job := get(t, q, id); job.Status != jobs.Done || job.Attempts != 1 {
			t.Fatalf("retried: %+v", job)
		}
		if _, err := q.Retry(t.Context(), id); !errors.Is(err, jobs.ErrState) {
			t.Fatalf("a job that is done was retried: %v", err)
		}
	})
}

func TestAJobFailsAtMaxAge(t *testing.T) {
	t.Parallel()
	onBoth(t, func(t *testing.T, b *bed) {
		q := b.open(one(jobs.Queue{MaxAge: time.Hour, Timeout: time.Minute}))
		at := b.clock.now().Add(30 * time.Minute)
		now, later := take(t, q, jobs.Spec{}), take(t, q, jobs.Spec{At: at})
		b.clock.add(time.Hour)
		ran := 0
		step(t, q, func(context.Context, *jobs.Job, int) jobs.Answer { ran++; return jobs.Answer{} })
		if job := get(t, q, now); job.Status != jobs.Failed || job.Reason == "" {
			t.Fatalf("a job of an hour: %+v", job)
		}
		if job := get(t, q, later); job.Status != jobs.Waiting || ran != 1 {
			t.Fatalf("a job that was due half an hour ago: %+v, %d runs", job, ran)
		}
		for range 2000 { // no attempt is ever counted, and still it ends
			b.clock.add(10 * time.Second)
			step(t, q, answering(jobs.Answer{}))
		}
		if job := get(t, q, later); job.Status != jobs.Failed || job.Attempts != 0 {
			t.Fatalf("a job whose server was never reached: %+v", job)
		}
	})
}

func TestIdempotencyKeys(t *testing.T) {
	t.Parallel()
	onBoth(t, func(t *testing.T, b *bed) {
		q := b.open(one(jobs.Queue{Keep: time.Hour}))
		spec := func() jobs.Spec {
			return jobs.Spec{URL: "/pay", Route: "pay", Body: []byte("10"), Key: "k", Owner: jobs.Owner{User: "anna", Host: "a.example"}}
		}
		first, err := q.Take(t.Context(), "q", spec())
		if err != nil || first.Existing {
			t.Fatal(first, err)
		}
		same := func(s jobs.Spec, want bool) string {
			t.Helper()
			taken, err := q.Take(t.Context(), "q", s)
			if err != nil || taken.Existing != want || (taken.ID == first.ID) != want {
				t.Fatalf("%+v, %v; want the same job: %v", taken, err, want)
			}
			return taken.ID
		}
		same(spec(), true)
		for _, change := range []func(*jobs.Spec){
			func(s *jobs.Spec) { s.Body = []byte("11") }, func(s *jobs.Spec) { s.URL = "/pay?x" }, func(s *jobs.Spec) { s.Method = "PUT" },
		} {
			s := spec()
			change(&s)
			if _, err := q.Take(t.Context(), "q", s); !errors.Is(err, jobs.ErrConflict) {
				t.Fatalf("another request with the same key: %v", err)
			}
		}
		for _, change := range []func(*jobs.Spec){
			func(s *jobs.Spec) { s.Owner.User = "bert" }, func(s *jobs.Spec) { s.Owner.Host = "b.example" }, func(s *jobs.Spec) { s.Route = "pay2" },
			func(s *jobs.Spec) { s.Key = "" }, func(s *jobs.Spec) { s.Owner = jobs.Owner{Client: "anna"} },
		} {
			s := spec()
			change(&s)
			same(s, false)
		}
		step(t, q, answering(jobs.Answer{Status: 200}))
		b.clock.add(time.Hour - time.Second)
		same(spec(), true)
		b.clock.add(time.Second)
		same(spec(), false)
	})
}

func TestAFullQueueRefuses(t *testing.T) {
	t.Parallel()
	onBoth(t, func(t *testing.T, b *bed) {
		q := b.open(one(jobs.Queue{Concurrency: 1, MaxBytes: 64 << 10, MaxBody: 16 << 10}))
		body := []byte(strings.Repeat("x", 8<<10))
		var ids []string
		var full *jobs.FullError
		for {
			taken, err := q.Take(t.Context(), "q", jobs.Spec{URL: "/", Body: body})
			if err != nil {
				if !errors.As(err, &full) || !errors.Is(err, jobs.ErrFull) || full.RetryAfter < time.Second {
					t.Fatal(err)
				}
				break
			}
			ids = append(ids, taken.ID)
		}
		if len(ids) != 7 {
			t.Fatalf("%d jobs of a bit more than 8KiB are in 64KiB", len(ids))
		}
		if _, err := q.Take(t.Context(), "q", jobs.Spec{URL: "/", Body: make([]byte, 16<<10+1)}); !errors.Is(err, jobs.ErrTooLarge) {
			t.Fatal(err)
		}
		// Jobs that are over make room for others that are, the oldest first, and refuse no new ones.
		for range 20 {
			step(t, q, answering(jobs.Answer{Status: 200, Body: body}))
			b.clock.add(time.Second)
			ids = append(ids, take(t, q, jobs.Spec{Body: body}))
		}
		stats, err := q.Stats(t.Context(), "q")
		if err != nil || stats.Bytes > 64<<10 || stats.Kept > 64<<10 || stats.Done == 0 || stats.Queued != 1 {
			t.Fatalf("%+v, %v", stats, err)
		}
		if _, err := q.Get(t.Context(), ids[0]); !errors.Is(err, jobs.ErrNotFound) {
			t.Fatalf("the oldest did not make room: %v", err)
		}
		get(t, q, ids[len(ids)-2])
		// Nor do those that wait push out those that are over.
		for err = nil; err == nil; {
			b.clock.add(time.Millisecond)
			_, err = q.Take(t.Context(), "q", jobs.Spec{URL: "/", Body: body})
		}
		get(t, q, ids[len(ids)-2])
	})
}

func TestAListIsTakenWholeOrNotAtAll(t *testing.T) {
	t.Parallel()
	onBoth(t, func(t *testing.T, b *bed) {
		q := b.open(one(jobs.Queue{Concurrency: 1, MaxBody: 1 << 10, MaxBytes: 4 << 10}))
		refused := func(want error, list ...jobs.Spec) {
			t.Helper()
			if taken, err := q.TakeAll(t.Context(), "q", list); !errors.Is(err, want) || taken != nil {
				t.Fatalf("%+v, %v; want %v", taken, err, want)
			}
			if stats, err := q.Stats(t.Context(), "q"); err != nil || stats.Queued != 1 {
				t.Fatalf("%+v, %v", stats, err)
			}
		}
		first := take(t, q, jobs.Spec{URL: "/0", Key: "k"})
		b.clock.add(time.Second)
		refused(jobs.ErrConflict, jobs.Spec{URL: "/a"}, jobs.Spec{URL: "/b", Key: "k"})
		refused(jobs.ErrConflict, jobs.Spec{URL: "/a", Key: "new"}, jobs.Spec{URL: "/b", Key: "new"})
		refused(jobs.ErrSpec, jobs.Spec{URL: "/a"}, jobs.Spec{URL: "b"})
		refused(jobs.ErrTooLarge, jobs.Spec{URL: "/a"}, jobs.Spec{URL: "/b", Body: make([]byte, 1<<10+1)})
		refused(jobs.ErrTooLarge, make([]jobs.Spec, jobs.MaxList+1)...)
		large := jobs.Spec{URL: "/a", Body: make([]byte, 1<<10)}
		refused(jobs.ErrFull, large, large, large)
		taken, err := q.TakeAll(t.Context(), "q", []jobs.Spec{{URL: "/1"}, {URL: "/0", Key: "k"}, {URL: "/2", Key: "l"}, {URL: "/2", Key: "l"}})
		if err != nil || len(taken) != 4 || taken[1].ID != first || !taken[1].Existing || taken[3].ID != taken[2].ID || !taken[3].Existing {
			t.Fatalf("%+v, %v", taken, err)
		}
		order := ""
		step(t, q, func(_ context.Context, job *jobs.Job, _ int) jobs.Answer {
			order += job.URL
			return jobs.Answer{Status: 200}
		})
		if order != "/0/1/2" {
			t.Fatalf("they ran in the order %s", order)
		}
	})
}

func TestOnlyWhoAskedOwnsAJob(t *testing.T) {
	t.Parallel()
	addr, other := netip.MustParseAddr("192.0.2.1"), netip.MustParseAddr("192.0.2.2")
	user := jobs.Owner{User: "anna", Source: "app", Host: "a.example", Addr: addr}
	client := jobs.Owner{Client: "till", Addr: addr}
	anonymous := jobs.Owner{Addr: addr}
	for name, c := range map[string]struct {
		owner, asker jobs.Owner
		owns         bool
	}{
		"the user, from elsewhere":      {user, jobs.Owner{User: "anna", Source: "app", Host: "a.example", Addr: other}, true},
		"another user":                  {user, jobs.Owner{User: "bert", Source: "app", Host: "a.example", Addr: addr}, false},
		"the user of another source":    {user, jobs.Owner{User: "anna", Source: "oidc", Host: "a.example", Addr: addr}, false},
		"the user of another host":      {user, jobs.Owner{User: "anna", Source: "app", Host: "b.example", Addr: addr}, false},
		"the user's address alone":      {user, anonymous, false},
		"the client":                    {client, jobs.Owner{Client: "till", Addr: other}, true},
		"another client":                {client, jobs.Owner{Client: "shop", Addr: addr}, false},
		"the client's address alone":    {client, anonymous, false},
		"the address":                   {anonymous, anonymous, true},
		"another address":               {anonymous, jobs.Owner{Addr: other}, false},
		"a user at the address":         {anonymous, user, false},
		"no client's job, by none":      {jobs.Owner{}, jobs.Owner{}, false},
		"no client's, by an address":    {jobs.Owner{}, anonymous, false},
		"no client's, by an API client": {jobs.Owner{}, client, false},
	} {
		if c.owner.Owns(c.asker) != c.owns {
			t.Errorf("%s: owns is %v", name, !c.owns)
		}
	}
}

func TestCancelling(t *testing.T) {
	t.Parallel()
	onBoth(t, func(t *testing.T, b *bed) {
		q := b.open(one(jobs.Queue{}))
		anna := jobs.Owner{User: "anna", Host: "a.example"}
		waiting, annas := take(t, q, jobs.Spec{}), take(t, q, jobs.Spec{Owner: anna})
		elsewhere := take(t, q, jobs.Spec{Owner: jobs.Owner{User: "anna", Host: "b.example"}})
		berts := take(t, q, jobs.Spec{Owner: jobs.Owner{User: "bert", Host: "a.example"}})
		if job, err := q.Cancel(t.Context(), waiting); err != nil || job.Status != jobs.Cancelled {
			t.Fatalf("%+v, %v", job, err)
		}
		if n, err := q.CancelOwner(t.Context(), anna); n != 1 || err != nil {
			t.Fatalf("cancelled %d jobs of anna's, %v", n, err)
		}
		for id, want := range map[string]jobs.Status{annas: jobs.Cancelled, elsewhere: jobs.Queued, berts: jobs.Queued} {
			if job := get(t, q, id); job.Status != want {
				t.Errorf("%s is %s, want %s", id, job.Status, want)
			}
		}
		if n, err := q.CancelOwner(t.Context(), jobs.Owner{User: "anna"}); n != 1 || err != nil {
			t.Fatalf("cancelled %d jobs of anna's at all hosts, %v", n, err)
		}
		// A job that runs gets no further attempt.
		step(t, q, func(ctx context.Context, job *jobs.Job, _ int) jobs.Answer {
			if _, err := q.CancelOwner(ctx, job.Owner); err != nil {
				t.Error(err)
			}
			if running := get(t, q, job.ID); running.Status != jobs.Running || !running.Cancelling {
				t.Errorf("cancelled while it runs: %+v", running)
			}
			return jobs.Answer{Status: 500}
		})
		if job := get(t, q, berts); job.Status != jobs.Cancelled || job.Attempts != 1 {
			t.Fatalf("cancelled while it ran: %+v", job)
		}
		// One whose answer comes all the same is done.
		done := take(t, q, jobs.Spec{})
		step(t, q, func(ctx context.Context, job *jobs.Job, _ int) jobs.Answer {
			if _, err := q.Cancel(ctx, job.ID); err != nil {
				t.Error(err)
			}
			return jobs.Answer{Status: 200}
		})
		if job := get(t, q, done); job.Status != jobs.Done {
			t.Fatalf("answered in spite of being cancelled: %+v", job)
		}
		if _, err := q.Cancel(t.Context(), "q-0123456789abcdefghjkmnpqrs"); !errors.Is(err, jobs.ErrNotFound) {
			t.Fatal(err)
		}
	})
}

func TestFollowUps(t *testing.T) {
	t.Parallel()
	onBoth(t, func(t *testing.T, b *bed) {
		q := b.open(one(jobs.Queue{}))
		id := take(t, q, jobs.Spec{URL: "/first", Upstream: "shop", Owner: jobs.Owner{User: "anna"}, Body: []byte("x")})
		answer := jobs.Answer{Status: 200, Header: http.Header{"Headgate-Enqueue": {"/second?of=1", "//evil.example/"}}}
		var ran []string
		step(t, q, func(_ context.Context, job *jobs.Job, _ int) jobs.Answer {
			ran = append(ran, job.Method+" "+job.URL)
			if job.URL == "/first" {
				return answer
			}
			if job.Owner != (jobs.Owner{}) || job.Upstream != "shop" || len(job.Body) != 0 || job.After != id {
				t.Errorf("the follow-up is %+v", job)
			}
			return jobs.Answer{Status: 200}
		})
		if len(ran) != 2 || ran[1] != "POST /second?of=1" {
			t.Fatalf("ran %v", ran)
		}
		// What has not succeeded has no follow-up.
		take(t, q, jobs.Spec{URL: "/first"})
		answer.Status = 500
		if n := step(t, q, answering(answer)); n != 1 {
			t.Fatalf("%d attempts", n)
		}
	})
}

func TestTheQueueSlowsDownWhenTheAppDoes(t *testing.T) {
	t.Parallel()
	onBoth(t, func(t *testing.T, b *bed) {
		q := b.open(one(jobs.Queue{}))
		take(t, q, jobs.Spec{})
		b.clock.add(time.Millisecond)
		second := take(t, q, jobs.Spec{})
		if n := step(t, q, answering(jobs.Answer{Status: 429, Header: http.Header{"Retry-After": {"60"}}})); n != 1 {
			t.Fatalf("%d attempts at an app server that asked to wait", n)
		}
		b.clock.add(59 * time.Second)
		if n := step(t, q, answering(jobs.Answer{Status: 200})); n != 0 {
			t.Fatalf("%d attempts before Retry-After", n)
		}
		if job := get(t, q, second); job.Status != jobs.Queued || job.Estimate < time.Second {
			t.Fatalf("%+v", job)
		}
		b.clock.add(time.Second)
		if n := step(t, q, answering(jobs.Answer{Status: 200})); n != 2 {
			t.Fatalf("%d attempts after Retry-After", n)
		}
	})
}

func TestALastAttemptSlowsTheQueueAsWell(t *testing.T) {
	t.Parallel()
	clk := newClock()
	q := open(t, jobs.Options{Queues: one(jobs.Queue{Retries: -1}), Now: clk.now})
	id := take(t, q, jobs.Spec{})
	take(t, q, jobs.Spec{})
	if n := step(t, q, answering(jobs.Answer{Status: 429, Header: http.Header{"Retry-After": {"60"}}})); n != 1 || get(t, q, id).Status != jobs.Failed {
		t.Fatalf("%d attempts, the first job is %s", n, get(t, q, id).Status)
	}
	clk.add(time.Minute)
	if n := step(t, q, answering(jobs.Answer{Status: 200})); n != 1 {
		t.Fatalf("%d attempts after Retry-After", n)
	}
}

func TestPausing(t *testing.T) {
	t.Parallel()
	onBoth(t, func(t *testing.T, b *bed) {
		q := b.open(one(jobs.Queue{}))
		id := take(t, q, jobs.Spec{})
		if err := q.Pause(t.Context(), "q"); err != nil {
			t.Fatal(err)
		}
		if n := step(t, q, answering(jobs.Answer{Status: 200})); n != 0 || get(t, q, id).Status != jobs.Queued {
			t.Fatalf("%d attempts in a queue that is paused", n)
		}
		if stats, err := q.Stats(t.Context(), "q"); err != nil || !stats.Paused {
			t.Fatalf("%+v, %v", stats, err)
		}
		if err := q.Resume(t.Context(), "q"); err != nil {
			t.Fatal(err)
		}
		if n := step(t, q, answering(jobs.Answer{Status: 200})); n != 1 {
			t.Fatalf("%d attempts after Resume", n)
		}
	})
}
