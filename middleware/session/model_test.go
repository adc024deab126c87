package session_test

import (
	"fmt"
	"net/http"
	"testing"
	"time"

	"pgregory.net/rapid"

	"github.com/headgate/headgate/internal/redistest"
	"github.com/headgate/headgate/middleware/session"
)

// Redis and the in-process store must not differ in anything that a client can
// see, whatever happens in whatever order: old cookies presented again, answers
// that get lost, instances taking turns, time passing.
func TestRedisAndMemoryBehaveAlike(t *testing.T) {
	t.Parallel()
	server := redistest.Start(t)
	connections := [2]session.Options{{Redis: openRedis(t, server.URL)}, {Redis: openRedis(t, server.URL)}}
	settings := session.Settings{
		IdleTimeout: 10 * time.Minute, AbsoluteTimeout: 40 * time.Minute, RotateEvery: 3 * time.Minute, MaxPerUser: 2,
	}
	rapid.Check(t, func(rt *rapid.T) {
		server.FlushAll()
		c := newClock()
		var inRedis, inMemory [2]*session.Manager
		memory := newManager(t, session.Options{Settings: settings, Now: c.Now})
		for i := range inRedis {
			connections[i].Settings, connections[i].Now = settings, c.Now
			inRedis[i], inMemory[i] = newManager(t, connections[i]), memory
		}
		one, two := newWorld(inRedis), newWorld(inMemory)
		for range rapid.IntRange(5, 30).Draw(rt, "steps") {
			step := draw(rt)
			c.Advance(time.Millisecond) // of two sessions begun at one instant, either is the oldest
			if step.do == "time passes" {
				c.Advance(step.pause)
			}
			if a, b := one.take(t, step), two.take(t, step); a != b {
				rt.Fatalf("%+v: in Redis %s, in memory %s", step, a, b)
			}
		}
		for _, user := range []string{"a", "b"} {
			if a, b := len(list(t, inRedis[0], user)), len(list(t, inMemory[0], user)); a != b {
				rt.Fatalf("user %s: %d sessions listed in Redis, %d in memory", user, a, b)
			}
		}
	})
}

type step struct {
	do       string
	browser  int
	instance int
	user     string
	pause    time.Duration
	old      int // which of the cookies that the browser ever had
}

func draw(rt *rapid.T) step {
	return step{
		do: rapid.SampledFrom([]string{
			"get", "get", "merge", "renew", "log in", "log out", "log out everywhere", "time passes", "an old cookie comes", "the answer is lost",
		}).Draw(rt, "do"),
		browser:  rapid.IntRange(0, 2).Draw(rt, "browser"),
		instance: rapid.IntRange(0, 1).Draw(rt, "instance"),
		user:     rapid.SampledFrom([]string{"a", "b"}).Draw(rt, "user"),
		pause:    time.Duration(rapid.IntRange(1, 400).Draw(rt, "pause")) * time.Second,
		old:      rapid.IntRange(0, 100).Draw(rt, "old"),
	}
}

// world is some browsers, with every cookie they ever had, and what they talk to.
type world struct {
	instances [2]*session.Manager
	browsers  [3]browser
	had       [3][]*http.Cookie
	merges    int
}

func newWorld(instances [2]*session.Manager) *world { return &world{instances: instances} }

// take carries out a step and says what the client and the app server see.
func (w *world) take(t *testing.T, s step) string {
	b, m := &w.browsers[s.browser], w.instances[s.instance]
	var r *request
	var err error
	switch s.do {
	case "time passes":
		return ""
	case "get":
		r = b.start(t, m, optional)
		err = r.answer()
	case "merge":
		w.merges++
		r = b.start(t, m, optional)
		err = r.answer(session.HeaderMerge, fmt.Sprintf(`{"k%d":%d}`, w.merges%5, w.merges))
	case "renew":
		r = b.start(t, m, optional)
		err = r.answer(session.HeaderRenew, "?1")
	case "log in":
		r = b.start(t, m, login)
		err = r.answer(session.HeaderLogin, s.user)
	case "log out":
		r = b.start(t, m, logout)
		err = r.answer()
	case "log out everywhere":
		r = b.start(t, m, optional)
		err = r.answer(session.HeaderLogout, "everywhere")
	case "an old cookie comes":
		if len(w.had[s.browser]) == 0 {
			return ""
		}
		thief := browser{cookie: w.had[s.browser][s.old%len(w.had[s.browser])]}
		r = thief.start(t, m, optional)
	case "the answer is lost":
		lost := browser{cookie: b.current()}
		r = lost.start(t, m, optional)
		err = r.answer(session.HeaderRenew, "?1")
	}
	if c := b.current(); c != nil {
		w.had[s.browser] = append(w.had[s.browser], c)
	}
	return fmt.Sprintf("user %s, data %s, cookie %v, error %v", r.user(), r.data(), b.current() != nil, err)
}
