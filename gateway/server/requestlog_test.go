package server_test

import (
	"fmt"
	"net/http"
	"os"
	"strings"
	"testing"
	"time"

	"github.com/headgate/headgate/gateway/server"
	"github.com/headgate/headgate/internal/redistest"
)

// A merge whose session is logged out while the app works meets a conflict: nothing is wrong
// with Redis, and no dashboard shall say so.
func TestAMergeThatRacesWithALogoutIsAConflict(t *testing.T) {
	t.Parallel()
	arrived, answer := make(chan struct{}), make(chan struct{})
	app := appFunc(t, func(w http.ResponseWriter, r *http.Request) {
		switch r.URL.Path {
		case "/login":
			w.Header().Set("Headgate-Login", "42")
		case "/cart":
			close(arrived)
			<-answer
			w.Header().Set("Headgate-Session-Merge", `{"cart":1}`)
		}
	})
	g := start(t, fmt.Sprintf(withSessions, redistest.Start(t).URL, app.URL))
	cookie := g.login("42")
	done := make(chan struct{})
	go func() {
		defer close(done)
		a := g.do("POST", "/cart", "Cookie", cookie)
		if a.StatusCode != 409 || a.Header.Get("Content-Type") != "application/problem+json" ||
			a.Header.Get("Retry-After") != "" || !strings.Contains(a.text, "ended meanwhile") {
			t.Errorf("the merge is answered %d %v %s", a.StatusCode, a.Header, a.text)
		}
	}()
	<-arrived
	if a := g.do("POST", "/logout", "Cookie", cookie); a.StatusCode != 200 {
		t.Errorf("logout: %d", a.StatusCode)
	}
	close(answer)
	<-done
}

// Without memory Redis refuses to write that a session was used. Every request finds that,
// and the log says it once a second.
func TestRefusedTouchesAreLoggedOnceASecond(t *testing.T) {
	t.Parallel()
	redis := redistest.Start(t)
	var log lockedBuffer
	g := start(t, fmt.Sprintf(withSessions, redis.URL, shopApp(t).URL), withLog(&log))
	cookies := make([]string, 30)
	for i := range cookies {
		cookies[i] = g.login(fmt.Sprint("user", i))
		// A second login in the same browser: the new cookie's first request has to be noted.
		a := g.do("POST", fmt.Sprint("/login?user=user", i), "Cookie", cookies[i])
		for _, c := range a.Cookies() {
			cookies[i] = c.Name + "=" + c.Value
		}
	}
	if err := redis.Client.ConfigSet(t.Context(), "maxmemory", "1").Err(); err != nil {
		t.Fatal(err)
	}
	begun := time.Now()
	for _, c := range cookies {
		if a := g.do("GET", "/private/x", "Cookie", c); a.StatusCode != 200 {
			t.Fatalf("without memory for writes: %d %s", a.StatusCode, a.text)
		}
	}
	most := 1 + int(time.Since(begun)/time.Second)
	if n := strings.Count(log.String(), "session not touched"); n == 0 || n > most {
		t.Errorf("%d lines for %d requests; %d seconds allow %d:\n%s", n, len(cookies), most-1, most, log.String())
	}
}

// A full disk costs lines of the access log. They are counted, and the log says so.
func TestAFullDiskUnderTheAccessLogIsCounted(t *testing.T) {
	t.Parallel()
	if _, err := os.Stat("/dev/full"); err != nil {
		t.Skip("no /dev/full")
	}
	var log lockedBuffer
	g := start(t, `
server: {listen: "127.0.0.1:0", admin: {listen: "127.0.0.1:0"}, access_log: /dev/full}
defaults: {limits: off}
routes: [{path: /*, respond: {status: 200}}]
`, withLog(&log), func(o *server.Options) { o.AccessLog = nil })
	const requests = 20
	for range requests {
		g.do("GET", "/")
	}
	eventually(t, "the lost lines in the metric", func() bool { return g.metric("headgate_access_log_dropped_lines_total") == requests })
	eventually(t, "the lost lines in the log", func() bool { return strings.Contains(log.String(), "the access log has lost lines") })
}
