package session_test

import (
	"context"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/headgate/headgate/internal/redistest"
	"github.com/headgate/headgate/middleware/session"
	"github.com/headgate/headgate/middleware/store"
)

// counting is a request's context that counts the round trips for which the request waits.
type counting struct {
	context.Context
	store.Waits
}

func (c *counting) Value(key any) any {
	if w := c.Waits.Value(key); w != nil {
		return w
	}
	return c.Context.Value(key)
}

// stage is what the requests of the table meet.
type stage struct {
	*fleet
	t *testing.T
	b browser // whose next request is counted
}

func (s *stage) anonymous() {
	s.b.start(s.t, s.instances[1], optional).mustAnswer(session.HeaderMerge, `{"cart":1}`)
}

func (s *stage) loggedIn() { s.b.login(s.t, s.instances[1], "42") }

// seen has the cookie of a login presented, so that nothing of it is left to do.
func (s *stage) seen() {
	s.loggedIn()
	s.b.get(s.t, s.instances[1])
}

func (s *stage) replaced() {
	s.seen()
	s.loggedIn()
}

func (s *stage) others(n int) {
	for range n {
		new(browser).login(s.t, s.instances[1], "42")
		s.clock.Advance(time.Second)
	}
}

// meanwhile sends another request of the browser.
func (s *stage) meanwhile(headers ...string) {
	other := browser{cookie: s.b.current()}
	other.start(s.t, s.instances[1], optional).mustAnswer(headers...)
}

// trips says for how many round trips each kind of request waits, that of admission
// included: on one server, where the commands of a round trip run in their order, and in a
// Cluster.
var trips = []struct {
	name            string
	before          func(s *stage)
	route           session.Route
	whileTheAppRuns func(s *stage)
	answer          []string
	server, cluster int64
}{
	{"no cookie", nil, optional, nil, nil, 0, 0},
	{"a request", (*stage).seen, required, nil, nil, 1, 1},
	{"a touch", func(s *stage) { s.seen(); s.clock.Advance(2 * time.Minute) }, required, nil, nil, 2, 2},
	{"the first request after a login", (*stage).loggedIn, required, nil, nil, 1, 1},
	{"the first request after a login that replaced a session", (*stage).replaced, required, nil, nil, 4, 4},

	{"the first data", nil, optional, nil, []string{session.HeaderMerge, `{"a":1}`}, 1, 1},
	{"a merge", (*stage).seen, optional, nil, []string{session.HeaderMerge, `{"a":1}`}, 2, 2},
	{"a merge after another one", (*stage).seen, optional,
		func(s *stage) { s.meanwhile(session.HeaderMerge, `{"b":1}`) }, []string{session.HeaderMerge, `{"a":1}`}, 3, 3},
	{"a renewal", (*stage).seen, optional, nil, []string{session.HeaderRenew, "?1"}, 2, 2},
	{"a rotation that is due, and a touch", func(s *stage) { s.seen(); s.clock.Advance(2 * time.Hour) }, optional, nil, nil, 3, 3},

	{"a login", nil, login, nil, []string{session.HeaderLogin, "42"}, 2, 2},
	{"a login with anonymous data", (*stage).anonymous, login, nil, []string{session.HeaderLogin, "42"}, 3, 3},
	{"a login when a touch is due", func(s *stage) { s.anonymous(); s.clock.Advance(10 * time.Minute) }, login, nil,
		[]string{session.HeaderLogin, "42"}, 3, 3},
	{"a login while data are merged", (*stage).anonymous, login,
		func(s *stage) { s.meanwhile(session.HeaderMerge, `{"b":1}`) }, []string{session.HeaderLogin, "42"}, 3, 3},
	{"a login while its session ends", (*stage).anonymous, login,
		func(s *stage) { s.meanwhile(session.HeaderLogout, "session") }, []string{session.HeaderLogin, "42"}, 3, 3},
	{"a login on top of a login", (*stage).replaced, login, nil, []string{session.HeaderLogin, "42"}, 3, 3},
	{"a login too many", func(s *stage) { s.others(5); s.anonymous() }, login, nil, []string{session.HeaderLogin, "42"}, 3, 3},
	{"a login that fails when a touch is due", func(s *stage) { s.anonymous(); s.clock.Advance(10 * time.Minute) }, login, nil, nil, 2, 2},

	{"a logout", (*stage).seen, logout, nil, nil, 2, 3},
	{"a logout of an anonymous session", (*stage).anonymous, logout, nil, nil, 2, 2},
	{"a logout everywhere", func(s *stage) { s.others(2); s.seen() }, optional, nil, []string{session.HeaderLogout, "everywhere"}, 3, 5},
	{"a logout everywhere of one session", (*stage).seen, optional, nil, []string{session.HeaderLogout, "everywhere"}, 3, 4},
}

func TestForHowManyRoundTripsARequestWaits(t *testing.T) {
	t.Parallel()
	settings := session.Settings{MaxPerUser: 3, RotateEvery: time.Hour, IdleTimeout: 6 * time.Hour}
	fleetOn := func(t *testing.T, url string, prefix string) *fleet {
		f := &fleet{clock: newClock()}
		for i := range f.instances {
			r, err := store.Open(store.Options{URL: url, Timeout: patient, KeyPrefix: prefix})
			if err != nil {
				t.Fatal(err)
			}
			t.Cleanup(func() { r.Close() })
			f.instances[i] = newManager(t, session.Options{Redis: r, Settings: settings, Now: f.clock.Now})
		}
		return f
	}
	count := func(t *testing.T, f *fleet, i int) int64 {
		c, s := trips[i], &stage{fleet: f, t: t}
		if c.before != nil {
			c.before(s)
		}
		counted := &counting{Context: t.Context()}
		s.b.ctx = counted
		r := s.b.start(t, f.instances[0], c.route)
		if c.whileTheAppRuns != nil {
			c.whileTheAppRuns(s)
		}
		r.mustAnswer(c.answer...)
		return counted.Trips()
	}
	for i, c := range trips {
		t.Run(c.name, func(t *testing.T) {
			t.Parallel()
			if n := count(t, fleetOn(t, redistest.Start(t).URL, ""), i); n != c.server {
				t.Errorf("on one server the request waits for %d round trips, want %d", n, c.server)
			}
			if n := count(t, fleetOn(t, startCluster(t).URL, strings.ReplaceAll(c.name, " ", "-")+":"), i); n != c.cluster {
				t.Errorf("in a Cluster the request waits for %d round trips, want %d", n, c.cluster)
			}
		})
	}
}

// TestALoginOverASlowLinkIsThreeRoundTrips: 60 ms there and back must not make half a second of
// a login, on a Redis that knows none of the scripts yet.
func TestALoginOverASlowLinkIsThreeRoundTrips(t *testing.T) {
	t.Parallel()
	server := redistest.Start(t)
	link := redistest.StartProxy(t, strings.TrimPrefix(server.URL, "redis://"))
	c := newClock()
	settings := session.Settings{MaxPerUser: 2}
	redis := openRedis(t, link.URL)
	far := newManager(t, session.Options{Redis: redis, Settings: settings, Now: c.Now})
	near := newManager(t, session.Options{Redis: openRedis(t, server.URL), Settings: settings, Now: c.Now})
	for range 3 {
		new(browser).login(t, near, "42")
		c.Advance(time.Second)
	}
	var b browser
	b.start(t, near, optional).mustAnswer(session.HeaderMerge, `{"cart":1}`)
	if err := server.Client.ScriptFlush(t.Context()).Err(); err != nil {
		t.Fatal(err)
	}
	link.Delay(60 * time.Millisecond)
	before := redis.RoundTrips()
	b.login(t, far, "42")
	if n := redis.RoundTrips() - before; n > 3 {
		t.Errorf("a login takes %d round trips", n)
	}
	wantData(t, b.get(t, near), `{"cart":1}`)
	if n := len(list(t, near, "42")); n != 2 {
		t.Errorf("%d sessions are listed, of 2", n)
	}
}

// What the two round trips of a login must not lose.

func TestALoginTakesWhatWasMergedWhileTheAppWorked(t *testing.T) {
	t.Parallel()
	onEachStore(t, session.Settings{}, func(t *testing.T, f *fleet) {
		s := &stage{fleet: f, t: t}
		s.anonymous()
		r := s.b.start(t, f.instances[0], login)
		s.meanwhile(session.HeaderMerge, `{"late":1}`)
		r.mustAnswer(session.HeaderLogin, "42", session.HeaderMerge, `{"with":2}`)
		wantData(t, s.b.get(t, f.instances[1]), `{"cart":1,"late":1,"with":2}`)

		s = &stage{fleet: f, t: t}
		s.anonymous()
		r = s.b.start(t, f.instances[0], login)
		s.meanwhile(session.HeaderLogout, "session")
		r.mustAnswer(session.HeaderLogin, "42", session.HeaderMerge, `{"with":2}`)
		wantData(t, s.b.get(t, f.instances[1]), `{"with":2}`) // what has ended leaves nothing to a login
	})
}

// A login on top of a login whose cookie has not come back before ends the session that the
// first of them replaced, as any first request with that cookie does.
func TestALoginOnTopOfALoginRetiresWhatThatReplaced(t *testing.T) {
	t.Parallel()
	onEachStore(t, session.Settings{}, func(t *testing.T, f *fleet) {
		s := &stage{fleet: f, t: t}
		s.seen()
		oldest := browser{cookie: s.b.current()}
		s.loggedIn()
		older := browser{cookie: s.b.current()}
		s.loggedIn()
		wantUser(t, oldest.start(t, f.instances[0], optional), "42")
		f.clock.Advance(31 * time.Second)
		wantUser(t, oldest.start(t, f.instances[0], optional), "-")
		wantUser(t, older.start(t, f.instances[0], optional), "42") // the third cookie has not come back yet
		wantUser(t, s.b.get(t, f.instances[0]), "42")
		f.clock.Advance(31 * time.Second)
		wantUser(t, older.start(t, f.instances[0], optional), "-")
	})
}

// Which session is the oldest that lives is known from the index: one that ended unused takes
// no place, whichever request noted it there.
func TestASessionThatEndedUnusedTakesNoPlaceOfALiveOne(t *testing.T) {
	t.Parallel()
	for _, forgotten := range []bool{false, true} {
		onEachStore(t, session.Settings{MaxPerUser: 2, IdleTimeout: 10 * time.Minute}, func(t *testing.T, f *fleet) {
			var used, unused, third browser
			used.login(t, f.instances[0], "42")
			f.clock.Advance(time.Second)
			unused.login(t, f.instances[1], "42")
			if forgotten && f.server != nil { // by a version that did not note when a session was seen
				f.server.Client.Del(t.Context(), f.server.Client.Keys(t.Context(), "headgate:session-seen:*").Val()...)
			}
			for range 4 {
				f.clock.Advance(5 * time.Minute)
				wantUser(t, used.get(t, f.instances[0]), "42")
			}
			third.login(t, f.instances[1], "42")
			wantUser(t, used.get(t, f.instances[0]), "42")
			wantUser(t, unused.get(t, f.instances[0]), "-")
			wantUser(t, third.get(t, f.instances[0]), "42")
		})
	}
}

// The session of a login request may end between its admission and the app's answer.
func TestATouchThatIsLeftToTheAnswerMeetsAnEnd(t *testing.T) {
	t.Parallel()
	onEachStore(t, session.Settings{}, func(t *testing.T, f *fleet) {
		s := &stage{fleet: f, t: t}
		s.seen()
		f.clock.Advance(5 * time.Minute)
		r := s.b.start(t, f.instances[0], login)
		s.meanwhile(session.HeaderLogout, "session")
		if err := r.answer(session.HeaderMerge, `{"a":1}`); session.Status(err) != 409 {
			t.Errorf("a merge says %v", err)
		}
		if n := len(list(t, f.instances[0], "42")); n != 0 {
			t.Errorf("%d sessions are listed", n)
		}
		// Without a login the request counts as a use.
		s = &stage{fleet: f, t: t}
		s.seen()
		for range 8 {
			f.clock.Advance(29 * time.Minute)
			s.b.start(t, f.instances[0], login).mustAnswer()
		}
		wantUser(t, s.b.get(t, f.instances[0]), "42")
	})
}

func TestLoginsInAClusterKeepTheMaximumAndTheIndexSmall(t *testing.T) {
	t.Parallel()
	c := startCluster(t)
	clock := newClock()
	var instances [2]*session.Manager
	for i := range instances {
		r, err := store.Open(store.Options{URL: c.URL, Timeout: patient, KeyPrefix: "maximum:"})
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() { r.Close() })
		instances[i] = newManager(t, session.Options{Redis: r, Settings: session.Settings{MaxPerUser: 4}, Now: clock.Now})
	}
	browsers := make([]browser, 24)
	var group sync.WaitGroup
	for i := range browsers {
		group.Go(func() {
			if err := browsers[i].start(t, instances[i%2], login).answer(session.HeaderLogin, "42"); err != nil {
				t.Error(err)
			}
		})
	}
	group.Wait()
	live := 0
	for i := range browsers {
		if browsers[i].get(t, instances[0]).user() == "42" {
			live++
		}
	}
	if live == 0 || live > 4 {
		t.Errorf("%d sessions live, 4 are allowed", live)
	}
	for i := range 40 {
		clock.Advance(time.Second)
		new(browser).login(t, instances[i%2], "42")
	}
	names := func() (n int64) {
		for _, node := range c.Nodes {
			for _, key := range node.Client.Keys(t.Context(), "maximum:session-user:*").Val() {
				n += node.Client.ZCard(t.Context(), key).Val()
			}
		}
		return n
	}
	retry(t, func() error { // what has ended leaves the index behind the answer
		new(browser).login(t, instances[0], "42")
		if n := names(); n > 8 {
			return unexpected("the index names %d sessions", n)
		}
		return nil
	})
	c.AssertEveryKeyExpires(t)
}
