package jobs

import (
	"context"
	"fmt"
	"maps"
	"slices"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/google/go-cmp/cmp/cmpopts"
	"github.com/headgate/headgate/internal/redistest"
	"github.com/headgate/headgate/middleware/store"
	"pgregory.net/rapid"
)

// twins are both backends under one clock. Each step happens at a microsecond of its own, and durations are whole seconds, so that no two jobs are due
// at once: among those, memory has an order, and Redis another one.
type twins struct {
	t             *rapid.T
	ctx           context.Context
	queue         string
	µs            int64
	memory, redis backend
	ids           []string
	leases        []lease
	undo          string // of the last claim
	n             int
}

const second = int64(1_000_000)

func (w *twins) now() time.Time { return time.UnixMicro(w.µs) }

// same runs a step on both.
func same[R any](w *twins, what string, step func(backend) (R, error)) R {
	w.µs++
	here, err := step(w.memory)
	if err != nil {
		w.t.Fatal(err)
	}
	there, err := step(w.redis)
	if err != nil {
		w.t.Fatal(err)
	}
	options := []cmp.Option{
		cmpopts.EquateEmpty(),
		cmp.AllowUnexported(takenAll{}, taken{}, standing{}, claimed{}, claim{}, record{}, view{}, planned{}, counts{}),
	}
	if diff := cmp.Diff(here, there, options...); diff != "" {
		w.t.Fatalf("%s: memory (-) and Redis (+) differ:\n%s", what, diff)
	}
	return here
}

func (w *twins) id() string {
	w.n++
	return fmt.Sprintf("%s-%026d", w.queue, w.n)
}

func (w *twins) drawID(t *rapid.T) string {
	if len(w.ids) == 0 {
		return w.queue + "-none"
	}
	return rapid.SampledFrom(w.ids).Draw(t, "which")
}

func (w *twins) drawTaking(t *rapid.T) *taking {
	job := &taking{
		queue: w.queue, id: w.id(), head: []byte(`{"m":"POST"}`), body: make([]byte, rapid.IntRange(0, 600).Draw(t, "body")),
	}
	if rapid.Bool().Draw(t, "of a user") {
		job.owner = rapid.SampledFrom([]string{"anna", "bert"}).Draw(t, "owner")
		job.host = rapid.SampledFrom([]string{"a", "b"}).Draw(t, "host")
	}
	if rapid.IntRange(0, 2).Draw(t, "has a key") == 0 {
		job.key = rapid.SampledFrom([]string{"k1", "k2"}).Draw(t, "key")
		job.print = rapid.SampledFrom([]string{"p1", "p2"}).Draw(t, "print")
	}
	switch rapid.IntRange(0, 5).Draw(t, "when") {
	case 0:
		job.delay = second * rapid.Int64Range(1, 100).Draw(t, "delay")
	case 1:
		job.at = w.µs + 1 + second*rapid.Int64Range(-50, 100).Draw(t, "at")
	}
	return job
}

// kept reports whether a job is. The keys of one that is not are still there in Redis, which expires them by its own clock.
func (w *twins) kept(id string) bool {
	v, err := w.memory.view(w.ctx, w.queue, id, false)
	return v != nil && err == nil
}

const keepInTest = 200 * second

func (w *twins) actions() map[string]func(*rapid.T) {
	all := map[string]func(*rapid.T){"": w.look}
	for _, some := range []map[string]func(*rapid.T){w.workers(), w.owners(), w.operators()} {
		maps.Copy(all, some)
	}
	return all
}

// workers is what they do, and those who enqueue.
func (w *twins) workers() map[string]func(*rapid.T) {
	return map[string]func(*rapid.T){
		"time passes": func(t *rapid.T) { w.µs += second * rapid.Int64Range(0, 90).Draw(t, "by") },
		"take": func(t *rapid.T) {
			w.µs += 3 // jobs of a list are at microseconds of their own
			maxBytes := rapid.SampledFrom([]int64{4000, 8000, 1 << 20}).Draw(t, "max bytes")
			list := make([]*taking, rapid.SampledFrom([]int{1, 1, 1, 2, 3}).Draw(t, "jobs"))
			for i := range list {
				list[i] = w.drawTaking(t)
				if rapid.IntRange(0, 9).Draw(t, "asked again") == 0 && len(w.ids) > 0 {
					if id := w.drawID(t); w.kept(id) {
						list[i].id = id
					}
				}
			}
			for _, job := range same(w, "take", func(b backend) (takenAll, error) { return b.take(w.ctx, maxBytes, list) }).jobs {
				if job.as == stored && !slices.Contains(w.ids, job.id) {
					w.ids = append(w.ids, job.id)
				}
			}
		},
		"claim": func(t *rapid.T) {
			c := &claiming{
				queue: w.queue, most: rapid.IntRange(1, 4).Draw(t, "most"), concurrency: rapid.IntRange(1, 5).Draw(t, "concurrency"),
				lease: 10 * second, maxAge: 150 * second, keep: keepInTest, inline: 100, token: w.id(),
			}
			if rapid.IntRange(0, 4).Draw(t, "undo") == 0 {
				c.undo = w.undo
			}
			w.undo = c.token
			granted := same(w, "claim", func(b backend) (claimed, error) { return b.claim(w.ctx, c) }).jobs
			if running := same(w, "stats", func(b backend) (counts, error) { return b.stats(w.ctx, w.queue) }).running; len(granted) > 0 && running > int64(c.concurrency) {
				w.t.Fatalf("%d leases are live under a concurrency of %d", running, c.concurrency)
			}
			for _, job := range granted {
				w.leases = append(w.leases, lease{job.id, job.token})
				same(w, "body", func(b backend) ([]byte, error) { return b.body(w.ctx, w.queue, job) })
			}
		},
		"renew": func(*rapid.T) {
			same(w, "renew", func(b backend) ([]held, error) { return b.renew(w.ctx, w.queue, 10*second, w.leases) })
		},
		"finish": func(t *rapid.T) {
			if len(w.leases) == 0 {
				return
			}
			l := rapid.SampledFrom(w.leases).Draw(t, "lease")
			if !w.kept(l.id) {
				return
			}
			f := &finishing{
				queue: w.queue, id: l.id, token: l.token, state: rapid.SampledFrom([]byte{stateDone, stateFailed, stateWaiting}).Draw(t, "state"),
				attempt: rapid.Bool().Draw(t, "attempt"), keep: keepInTest, maxBytes: 8000, took: rapid.Int64Range(0, 5*second).Draw(t, "took"),
				status: rapid.SampledFrom([]int{0, 200, 404, 500}).Draw(t, "status"), reason: rapid.SampledFrom([]string{"", "no answer"}).Draw(t, "reason"),
			}
			if f.state == stateWaiting {
				f.front, f.delay = rapid.Bool().Draw(t, "front"), second*rapid.Int64Range(1, 60).Draw(t, "delay")
				f.slow = second * rapid.SampledFrom([]int64{0, 0, 0, 20}).Draw(t, "slow")
			} else if f.status != 0 {
				f.result = append([]byte("{\"s\":200}\n"), make([]byte, rapid.IntRange(0, 300).Draw(t, "result"))...)
				if rapid.IntRange(0, 3).Draw(t, "has a follow-up") == 0 {
					next := w.drawTaking(t)
					f.followUps = []*taking{{queue: w.queue, id: next.id, head: next.head}}
				}
			}
			if same(w, "finish", func(b backend) (finished, error) { return b.finish(w.ctx, f) }) == finishedNow && f.followUps != nil {
				w.ids = append(w.ids, f.followUps[0].id)
			}
		},
	}
}

// owners is what those who asked do besides.
func (w *twins) owners() map[string]func(*rapid.T) {
	return map[string]func(*rapid.T){
		"cancel": func(t *rapid.T) {
			id, how := w.drawID(t), rapid.SampledFrom([]cancelling{noFurther, stopNow}).Draw(t, "how")
			same(w, "cancel", func(b backend) (bool, error) { return b.cancel(w.ctx, w.queue, id, how, keepInTest) })
		},
		"cancel a user's": func(t *rapid.T) {
			owner, host := rapid.SampledFrom([]string{"anna", "bert"}).Draw(t, "owner"), rapid.SampledFrom([]string{"", "a", "b"}).Draw(t, "host")
			same(w, "cancelOwner", func(b backend) (int, error) { return b.cancelOwner(w.ctx, w.queue, owner, host, keepInTest) })
		},
	}
}

// operators is what they do, and schedules.
func (w *twins) operators() map[string]func(*rapid.T) {
	return map[string]func(*rapid.T){
		"pause": func(t *rapid.T) {
			paused := rapid.IntRange(0, 3).Draw(t, "paused") == 0
			same(w, "pause", func(b backend) (bool, error) { return true, b.pause(w.ctx, w.queue, paused) })
		},
		"retry": func(t *rapid.T) {
			id := w.drawID(t)
			same(w, "retry", func(b backend) (bool, error) { return b.retry(w.ctx, w.queue, id) })
		},
		"retry all": func(t *rapid.T) {
			most := rapid.IntRange(1, 3).Draw(t, "most")
			w.µs += 2 // those before now are at microseconds of their own
			same(w, "retryFailed", func(b backend) (int, error) { return b.retryFailed(w.ctx, w.queue, most) })
		},
		"plan": func(t *rapid.T) {
			p := &planning{
				schedule: rapid.SampledFrom([]string{"s1", "s2"}).Draw(t, "schedule"), identity: rapid.SampledFrom([]string{"i1", "i1", "i1", "i2"}).Draw(t, "identity"),
				planned: w.µs + second*rapid.Int64Range(-100, 10).Draw(t, "planned"), overlap: rapid.Bool().Draw(t, "overlap"),
				skip: rapid.IntRange(0, 4).Draw(t, "skip") == 0, taking: w.drawTaking(t),
			}
			p.owner, p.host, p.key, p.print, p.delay, p.at = "", "", "", "", 0, 0
			if same(w, "plan", func(b backend) (planned, error) { return b.plan(w.ctx, p) }).as == planStored {
				w.ids = append(w.ids, p.id)
			}
		},
	}
}

// look compares all that is shown, after each step.
func (w *twins) look(*rapid.T) {
	same(w, "stats", func(b backend) (counts, error) { return b.stats(w.ctx, w.queue) })
	for _, status := range (Status("")).Values() {
		for _, offset := range []int{0, 2} {
			same(w, "list "+status, func(b backend) ([]*view, error) { return b.list(w.ctx, w.queue, Status(status), offset, 3) })
		}
	}
	for _, id := range w.ids {
		v := same(w, "view", func(b backend) (*view, error) { return b.view(w.ctx, w.queue, id, w.n%3 == 0) })
		if v != nil {
			same(w, "result", func(b backend) ([]byte, error) { return b.result(w.ctx, w.queue, id) })
		}
	}
}

// TestMemoryAndRedisDoTheSame runs random histories through both backends.
func TestMemoryAndRedisDoTheSame(t *testing.T) {
	t.Parallel()
	s := redistest.Start(t)
	r, err := store.Open(store.Options{URL: s.URL, Timeout: 10 * time.Second})
	if err != nil {
		t.Fatal(err)
	}
	defer r.Close()
	run := 0
	rapid.Check(t, func(rt *rapid.T) {
		run++
		w := &twins{t: rt, ctx: context.Background(), queue: fmt.Sprintf("q%d", run), µs: time.Date(2026, 11, 28, 12, 0, 0, 0, time.UTC).UnixMicro()}
		w.memory = newMemory(w.now, newHub())
		inRedis := newRedisBackend(r)
		inRedis.clock = func() int64 { return w.µs }
		w.redis = inRedis
		rt.Repeat(w.actions())
	})
}
