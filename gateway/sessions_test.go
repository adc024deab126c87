package main

import (
	"encoding/json"
	"net/http"
	"slices"
	"strings"
	"testing"

	"github.com/headgate/headgate/middleware/session"
)

func TestSessionsCommand(t *testing.T) {
	t.Parallel()
	app := testApp(t, func(w http.ResponseWriter, r *http.Request) {
		if user := r.URL.Query().Get("user"); user != "" {
			w.Header().Set("Headgate-Login", user)
		}
		w.Header().Set("Ref", r.Header.Get("Headgate-Session-Ref"))
	})
	p := startProcess(t, "upstreams: {shop: {servers: [\""+app+"\"]}}\nsession: {cookie: {secure: false}}\nroutes: [{path: /*, session: login, upstream: shop}]\n")
	command := func(args ...string) (string, error) {
		at := slices.Index(append(args, "--"), "--") // a reference may begin with -
		out, err := p.command(slices.Insert(slices.Clone(args), at, "--admin", p.admin)...)
		return strings.Join(strings.Fields(out), " "), err
	}
	says := func(want string, args ...string) {
		t.Helper()
		if out, err := command(args...); err != nil || !strings.Contains(out, want) {
			t.Errorf("%v: %v\n%s\nwant %q", args, err, out, want)
		}
	}
	refuses := func(want string, args ...string) {
		t.Helper()
		if out, err := command(args...); err == nil || !strings.Contains(out, want) {
			t.Errorf("%v: %v\n%s\nwant %q", args, err, out, want)
		}
	}
	login := func(user string) (cookie, ref string) {
		t.Helper()
		_, _, h := p.do("POST", "/?user="+user, "User-Agent", "Test/1.0\u202e")
		cookie, _, _ = strings.Cut(h.Get("Set-Cookie"), ";")
		_, _, h = p.do("GET", "/", "Cookie", cookie)
		return cookie, h.Get("Ref")
	}
	live := func(cookie string) bool {
		_, _, h := p.do("GET", "/", "Cookie", cookie)
		return h.Get("Ref") != ""
	}

	says("a&b has no session", "sessions", "--user", "a&b")
	first, ref := login("a%26b")
	second, _ := login("a%26b")
	other, _ := login("c")
	says("REFERENCE CREATED LAST SEEN ADDRESS AGENT", "sessions", "--user", "a&b")
	says(ref, "sessions", "--user", "a&b")
	says(`127.0.0.1 "Test/1.0\u202e"`, "sessions", "--user", "a&b")
	out, err := p.command("sessions", "--user", "a&b", "--json", "--admin", p.admin)
	var all []session.Info
	if err != nil || json.Unmarshal([]byte(out), &all) != nil || len(all) != 2 || all[1].Ref != ref {
		t.Errorf("--json: %v\n%s", err, out)
	}

	says("the session "+ref+" has ended", "sessions", "end", "--", ref)
	if live(first) || !live(second) {
		t.Error("another session than the named one has ended")
	}
	refuses("404", "sessions", "end", "--", ref)
	third, _ := login("a%26b")
	says("2 sessions of a&b have ended", "sessions", "end", "--user", "a&b")
	says("a&b had no session", "sessions", "end", "--user", "a&b")
	if live(second) || live(third) || !live(other) {
		t.Error("not the user's sessions have ended")
	}
	says("the session of c has ended", "sessions", "end", "--user", "c")

	refuses("name the user: headgate sessions --user U", "sessions")
	refuses("name one session, or a user", "sessions", "end")
	refuses("name one session, or a user", "sessions", "end", "x", "--user", "c")
	refuses("name one session, or a user", "sessions", "end", "x", "y")
}
