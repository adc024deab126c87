package session_test

import (
	"bytes"
	"context"
	"encoding/base64"
	"errors"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"time"

	"github.com/headgate/headgate/internal/redistest"
	"github.com/headgate/headgate/middleware/session"
	"github.com/headgate/headgate/middleware/store"
)

func TestADumpOfRedisHoldsNoUsableCookie(t *testing.T) {
	t.Parallel()
	f := redisFleet(t, session.Settings{RotateEvery: time.Minute})
	ctx := context.Background()
	var b browser
	b.start(t, f.instances[0], optional).mustAnswer(session.HeaderMerge, `{"cart":1}`)
	tokens := []string{b.value()}
	b.login(t, f.instances[0], "42")
	tokens = append(tokens, b.value())
	f.clock.Advance(time.Minute)
	b.get(t, f.instances[0])
	tokens = append(tokens, b.value())

	var dump bytes.Buffer
	for _, key := range f.server.Client.Keys(ctx, "*").Val() {
		dump.WriteString(key + "\n" + f.server.Client.Get(ctx, key).Val() + "\n")
		dump.WriteString(strings.Join(f.server.Client.ZRange(ctx, key, 0, -1).Val(), "\n") + "\n")
	}
	if dump.Len() < 500 {
		t.Fatalf("that is no dump: %s", dump.String())
	}
	for _, token := range tokens {
		secret := token[24:]
		raw, err := base64.RawURLEncoding.DecodeString(secret)
		if err != nil || len(raw) != 32 {
			t.Fatalf("the secret is no 256 bits: %q", secret)
		}
		for _, form := range [][]byte{[]byte(secret), raw, []byte(base64.StdEncoding.EncodeToString(raw))} {
			if bytes.Contains(dump.Bytes(), form) {
				t.Fatalf("the dump holds a secret as %q", form)
			}
		}
	}
	// Nothing in the dump, put into a cookie as it stands or after a handle,
	// opens a session.
	for _, word := range strings.FieldsFunc(dump.String(), func(r rune) bool { return strings.ContainsRune("\n\":,{}[]", r) }) {
		for _, handle := range []string{"", tokens[1][:24], tokens[2][:24]} {
			forged := browser{cookie: &http.Cookie{Name: "__Host-session", Value: handle + word}}
			if got := forged.start(t, f.instances[1], optional).user(); got != "-" {
				t.Fatalf("%q opens the session of %q", handle+word, got)
			}
		}
	}
}

func TestEveryKeyInRedisExpires(t *testing.T) {
	t.Parallel()
	f := redisFleet(t, session.Settings{RotateEvery: time.Minute, MaxPerUser: 2})
	var b browser
	step := func(what string) {
		t.Helper()
		if n := f.server.AssertEveryKeyExpires(t); n == 0 {
			t.Fatalf("%s: no keys at all", what)
		}
	}
	b.start(t, f.instances[0], optional).mustAnswer(session.HeaderMerge, `{"a":1}`)
	step("anonymous")
	for range 4 {
		new(browser).login(t, f.instances[0], "42")
	}
	b.login(t, f.instances[1], "42")
	step("login")
	b.get(t, f.instances[0])
	b.start(t, f.instances[0], optional).mustAnswer(session.HeaderMerge, `{"b":1}`, session.HeaderRenew, "?1")
	step("merge and renewal")
	f.clock.Advance(5 * time.Minute)
	b.get(t, f.instances[0])
	b.get(t, f.instances[0])
	step("touch and rotation")
	b.start(t, f.instances[0], logout).mustAnswer()
	step("logout")
}

// A pause is what a full disk, a swapping host or a partition look like.
func TestNobodyIsLoggedOutWhileRedisIsAway(t *testing.T) {
	t.Parallel()
	server := redistest.Start(t)
	const timeout = 150 * time.Millisecond
	m := newManager(t, session.Options{Redis: openRedisWithin(t, server.URL, timeout)})
	browsers := make([]browser, 5)
	for i := range browsers {
		retry(t, func() error { return browsers[i].start(t, m, login).answer(session.HeaderLogin, "42") })
	}
	cookies := make([]string, len(browsers))
	for i := range browsers {
		cookies[i] = browsers[i].value()
	}
	server.Pause()
	for i := range browsers {
		for _, route := range []session.Route{optional, required, login, logout} {
			r := browsers[i].start(t, m, route)
			if !errors.Is(r.rs.Err(), session.ErrUnavailable) || r.session() != nil {
				t.Fatalf("%s: session %v, error %v", route.Mode, r.session(), r.rs.Err())
			}
			d := r.rs.Authorize()
			if route.Mode == session.Optional {
				if !d.Pass() {
					t.Fatalf("optional: %d", d.Status)
				}
				r.mustAnswer()
				if err := r.answer(session.HeaderMerge, `{"a":1}`); session.Status(err) != 503 || err == nil {
					t.Fatalf("a merge that can't be saved says %v", err)
				}
			} else if d.Status != 503 || d.Header.Get("Retry-After") == "" {
				t.Fatalf("%s: %d, Retry-After %q", route.Mode, d.Status, d.Header.Get("Retry-After"))
			}
		}
		if browsers[i].value() != cookies[i] {
			t.Fatal("the cookie was touched")
		}
	}
	// A login without a cookie reaches the app, and fails there.
	var newcomer browser
	r := newcomer.start(t, m, login)
	if d := r.rs.Authorize(); !d.Pass() {
		t.Fatalf("a request without cookie is answered %d", d.Status)
	}
	if err := r.answer(session.HeaderLogin, "43"); err == nil || session.Status(err) != 503 || newcomer.current() != nil {
		t.Fatalf("a login that can't be saved says %v, cookie %v", err, newcomer.current())
	}

	server.Resume()
	for i := range browsers {
		retry(t, func() error {
			r := browsers[i].start(t, m, required)
			if r.rs.Err() == nil && r.user() != "42" {
				t.Fatalf("browser %d is %q after the pause", i, r.user())
			}
			return r.rs.Err()
		})
	}
}

// retry repeats what a busy machine may let time out.
func retry(t *testing.T, f func() error) {
	t.Helper()
	deadline := time.Now().Add(20 * time.Second)
	for {
		err := f()
		if err == nil {
			return
		}
		if time.Now().After(deadline) {
			t.Fatal(err)
		}
		time.Sleep(20 * time.Millisecond)
	}
}

func TestRedisErrorsAreNotLogouts(t *testing.T) {
	t.Parallel()
	f := redisFleet(t, session.Settings{})
	ctx := context.Background()
	var b browser
	b.login(t, f.instances[0], "42")
	key := f.server.Client.Keys(ctx, "headgate:session:*").Val()[0]
	text := f.server.Client.Get(ctx, key).Val()

	for name, damage := range map[string]func() error{
		"a wrong type": func() error {
			f.server.Client.Del(ctx, key)
			return f.server.Client.LPush(ctx, key, "x").Err()
		},
		"an envelope of a later version": func() error {
			f.server.Client.Del(ctx, key)
			return f.server.Client.Set(ctx, key, strings.Replace(text, `"v":1`, `"v":2`, 1), time.Hour).Err()
		},
		"a password that has changed": func() error {
			return f.server.Client.Do(ctx, "acl", "setuser", "default", "-get").Err()
		},
	} {
		if err := damage(); err != nil {
			t.Fatal(err)
		}
		r := b.start(t, f.instances[1], required)
		if !errors.Is(r.rs.Err(), session.ErrUnavailable) || r.rs.Authorize().Status != 503 {
			t.Errorf("%s: error %v, status %d", name, r.rs.Err(), r.rs.Authorize().Status)
		}
	}
	f.server.Client.Do(ctx, "acl", "setuser", "default", "+get")
	f.server.Client.Del(ctx, key)
	f.server.Client.Set(ctx, key, text, time.Hour)
	// The breaker may have opened meanwhile.
	retry(t, func() error { return b.start(t, f.instances[1], required).rs.Err() })
	wantUser(t, b.get(t, f.instances[1]), "42")
}

func TestAManagerStartsWhileRedisIsAway(t *testing.T) {
	t.Parallel()
	server := redistest.Start(t)
	server.Stop()
	m := newManager(t, session.Options{Redis: openRedisWithin(t, server.URL, 100*time.Millisecond)})
	server.Restart()
	var b browser
	retry(t, func() error { return b.start(t, m, login).answer(session.HeaderLogin, "42") })
}

func TestWithoutOurCookieRedisIsNotAsked(t *testing.T) {
	t.Parallel()
	server := redistest.Start(t)
	redis := openRedis(t, server.URL)
	m := newManager(t, session.Options{Redis: redis, Settings: session.Settings{Secrets: [][]byte{bytes.Repeat([]byte("k"), 32)}}})
	before := commands(t, server)
	for _, cookie := range []string{
		"", "other=1", "__Host-session=", "__Host-session=junk",
		"__Host-session=" + strings.Repeat("A", 67),                                 // well-formed, unsigned
		"__Host-session=" + strings.Repeat("A", 67) + "." + strings.Repeat("A", 43), // badly signed
	} {
		r := httptest.NewRequest(http.MethodGet, "http://shop.example/", nil)
		r.Header.Set("Cookie", cookie)
		rs := m.ForRequest(r, optional)
		batch := redis.NewBatch()
		rs.AddTo(batch)
		if batch.Pending() {
			t.Errorf("%q: a command was prepared", cookie)
		}
		if err := rs.Load(t.Context()); err != nil || rs.Session() != nil {
			t.Errorf("%q: %v, %v", cookie, rs.Session(), err)
		}
		if _, err := rs.Commit(t.Context(), session.Actions{}); err != nil {
			t.Error(err)
		}
	}
	if n := commands(t, server) - before; n != 0 {
		t.Errorf("Redis was asked %d times", n)
	}
}

func commands(t *testing.T, server *redistest.Server) int {
	return server.CommandCount(t, "get", "set", "evalsha", "eval", "del", "zadd", "zrange", "pexpire", "expire")
}

func TestALiveSessionCostsOneCommandOnASharedRoundTrip(t *testing.T) {
	t.Parallel()
	server := redistest.Start(t)
	redis := openRedis(t, server.URL)
	m := newManager(t, session.Options{Redis: redis})
	var b browser
	b.login(t, m, "42")

	limit := store.NewScript(`return redis.call('INCR', KEYS[1])`)
	before, others := server.CommandCount(t, "get"), commands(t, server)
	const requests = 50
	for i := range requests {
		r := httptest.NewRequest(http.MethodGet, "http://shop.example/", nil)
		r.AddCookie(b.current())
		rs := m.ForRequest(r, required)
		if id, ok := rs.Remembered(); i > 0 && (!ok || id.User != "42") {
			t.Fatalf("request %d: remembered %v, %v", i, id, ok)
		}
		batch := redis.NewBatch()
		rs.AddTo(batch)
		if err := errors.Join(batch.Send(t.Context(), limit.Call([]string{"limit"})), rs.Load(t.Context())); err != nil {
			t.Fatal(err)
		}
		if rs.Session() == nil || !rs.Authorize().Pass() {
			t.Fatal("not logged in")
		}
		if _, err := rs.Commit(t.Context(), session.Actions{}); err != nil {
			t.Fatal(err)
		}
	}
	if n := server.CommandCount(t, "get") - before; n != requests {
		t.Errorf("%d GETs for %d requests", n, requests)
	}
	// Per request: our GET and their script; once, the text of their script.
	if n := commands(t, server) - others; n > 2*requests+1 {
		t.Errorf("%d commands for %d requests", n, requests)
	}
}

func TestTouchesAreOnceAMinute(t *testing.T) {
	t.Parallel()
	f := redisFleet(t, session.Settings{})
	var b browser
	b.login(t, f.instances[0], "42")
	before := f.server.CommandCount(t, "set")
	for i := range 120 {
		f.clock.Advance(time.Second)
		wantUser(t, b.get(t, f.instances[i%2]), "42")
	}
	if n := f.server.CommandCount(t, "set") - before; n != 2 {
		t.Errorf("%d writes in two minutes of use", n)
	}
}

func TestAnEvictingRedisIsWarnedOf(t *testing.T) {
	t.Parallel()
	for policy, warns := range map[string]bool{"noeviction": false, "allkeys-lru": true, "volatile-ttl": true} {
		server := redistest.Start(t, "--maxmemory", "64mb", "--maxmemory-policy", policy)
		m := newManager(t, session.Options{Redis: openRedis(t, server.URL)})
		warning, err := m.CheckEviction(t.Context())
		if err != nil || (warning != "") != warns || warns && !strings.Contains(warning, policy) {
			t.Errorf("%s: %q, %v", policy, warning, err)
		}
	}
	if warning, err := newManager(t, session.Options{}).CheckEviction(t.Context()); warning != "" || err != nil {
		t.Errorf("memory: %q, %v", warning, err)
	}
}

func TestSessionsInACluster(t *testing.T) {
	t.Parallel()
	c := startCluster(t)
	settings := session.Settings{MaxPerUser: 5, RotateEvery: time.Minute}
	f := &fleet{clock: newClock()}
	for i := range f.instances {
		f.instances[i] = newManager(t, session.Options{Redis: openRedis(t, c.URL), Settings: settings, Now: f.clock.Now})
	}
	ctx := context.Background()
	if warning, err := f.instances[0].CheckEviction(ctx); warning != "" || err != nil {
		t.Errorf("eviction: %q, %v", warning, err)
	}
	browsers := make([]browser, 7)
	for i := range browsers {
		browsers[i].start(t, f.instances[0], optional).mustAnswer(session.HeaderMerge, `{"cart":3}`)
		browsers[i].login(t, f.instances[i%2], "42")
		wantData(t, browsers[i].get(t, f.instances[0]), `{"cart":3}`)
		f.clock.Advance(time.Second)
	}
	wantUser(t, browsers[1].get(t, f.instances[1]), "-")
	wantUser(t, browsers[2].get(t, f.instances[1]), "42")
	f.clock.Advance(time.Minute)
	before := browsers[6].value()
	browsers[6].get(t, f.instances[0])
	if browsers[6].value() == before {
		t.Error("not rotated")
	}
	wantUser(t, browsers[6].get(t, f.instances[1]), "42")
	if n := c.AssertEveryKeyExpires(t); n == 0 {
		t.Error("no keys at all")
	}
	if n := len(list(t, f.instances[0], "42")); n != 5 {
		t.Errorf("%d sessions are listed", n)
	}
	browsers[6].start(t, f.instances[1], optional).mustAnswer(session.HeaderLogout, "everywhere")
	for i := range browsers {
		wantUser(t, browsers[i].get(t, f.instances[0]), "-")
	}
}

func TestASessionThatEndsBetweenReadingAndTouchingIsNone(t *testing.T) {
	t.Parallel()
	server, c := redistest.Start(t), newClock()
	redis := openRedis(t, server.URL)
	m := newManager(t, session.Options{Redis: redis, Now: c.Now})
	var b browser
	b.login(t, m, "42")
	c.Advance(2 * time.Minute) // a touch is due
	r := httptest.NewRequest(http.MethodGet, "http://shop.example/", nil)
	r.AddCookie(b.current())
	rs := m.ForRequest(r, required)
	batch := redis.NewBatch()
	rs.AddTo(batch)
	if err := batch.Send(t.Context()); err != nil {
		t.Fatal(err)
	}
	if n, err := m.RevokeUser(t.Context(), "42"); n != 1 || err != nil {
		t.Fatalf("revoked %d, %v", n, err)
	}
	if err := rs.Load(t.Context()); err != nil || rs.Session() != nil || rs.Authorize().Status != 401 {
		t.Errorf("session %v, error %v, status %d", rs.Session(), err, rs.Authorize().Status)
	}
	if _, ok := m.ForRequest(r, required).Remembered(); ok {
		t.Error("still remembered")
	}
}

func TestAnOutageThatEndsBeforeTheAnswerStillChangesNothing(t *testing.T) {
	t.Parallel()
	server := redistest.Start(t)
	m := newManager(t, session.Options{Redis: openRedisWithin(t, server.URL, 150*time.Millisecond)})
	var b browser
	retry(t, func() error { return b.start(t, m, login).answer(session.HeaderLogin, "42") })
	before := b.value()
	server.Pause()
	r := b.start(t, m, login)
	server.Resume()
	retry(t, func() error { return new(browser).start(t, m, login).answer(session.HeaderLogin, "43") })
	for _, headers := range [][]string{
		{session.HeaderMerge, `{"a":1}`}, {session.HeaderLogin, "44"}, {session.HeaderLogout, "session"}, {session.HeaderRenew, "?1"},
	} {
		if err := r.answer(headers...); !errors.Is(err, session.ErrUnavailable) || session.Status(err) != 503 {
			t.Errorf("%q says %v", headers, err)
		}
	}
	if b.value() != before {
		t.Fatal("the cookie was replaced without anybody knowing what it stood for")
	}
	wantUser(t, b.get(t, m), "42")
}
