package session_test

import (
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"

	"github.com/headgate/headgate/middleware/session"
)

func TestReservedNamesAreKnownInEverySpelling(t *testing.T) {
	t.Parallel()
	for name, want := range map[string]bool{
		"Headgate-User": true, "headgate-user": true, "HEADGATE_USER": true, "headgate.user": true,
		"Headgate": true, "Headgate-": true, "hEaDgAtE~session": true, "Headgate!x": true, "Headgate--User": true,
		"Headgates": false, "X-Headgate-User": false, "Head-Gate-User": false, "Headgat": false, "": false, "Headgate2-User": false,
	} {
		if got := session.Reserved(name); got != want {
			t.Errorf("%q: %v", name, got)
		}
	}
}

func TestReservedHeadersAreStripped(t *testing.T) {
	t.Parallel()
	h := http.Header{
		"Headgate-User":    {"admin"},
		"headgate_session": {"{}"},
		"HEADGATE.USER":    {"x"},
		"X-Other":          {"kept"},
		"Connection":       {"close, Headgate-User", "headgate_session-ref ,keep-alive"},
		"Trailer":          {"Headgate-Login"},
	}
	session.StripReserved(h)
	if len(h) != 2 || h.Get("X-Other") != "kept" || h.Get("Connection") != "close, keep-alive" || len(h["Connection"]) != 1 {
		t.Errorf("left: %v", h)
	}
}

func TestWhatAClientSendsUnderOurNamesDoesNotArrive(t *testing.T) {
	t.Parallel()
	onEachStore(t, session.Settings{}, func(t *testing.T, f *fleet) {
		var b browser
		b.start(t, f.instances[0], login).mustAnswer(session.HeaderLogin, "müller", session.HeaderMerge, `{"città":"Forlì","emoji":"🦆","del":"\u007f"}`)
		for _, live := range []bool{false, true} {
			r := httptest.NewRequest(http.MethodGet, "http://shop.example/", nil)
			r.Header["headgate_user"] = []string{"admin"}
			r.Header["Headgate-User"] = []string{"admin", "root"}
			r.Header["Headgate-Session-Ref"] = []string{"x"}
			r.Header["Headgate-Client"] = []string{"acme"}
			r.Header.Set("Connection", "Headgate-User, Headgate-Session")
			r.AddCookie(&http.Cookie{Name: "theirs", Value: "1"})
			if live {
				r.AddCookie(b.current())
			}
			rs := f.instances[1].ForRequest(r, optional)
			if err := rs.Load(t.Context()); err != nil {
				t.Fatal(err)
			}
			rs.ForwardHeaders(r.Header)
			if got := r.Header.Get("Cookie"); got != "theirs=1" || r.Header.Get("Connection") != "" || r.Header.Get("Headgate-Client") != "" {
				t.Errorf("forwarded: %v", r.Header)
			}
			if !live {
				for name := range r.Header {
					if session.Reserved(name) {
						t.Errorf("forwarded without a session: %s", name)
					}
				}
				continue
			}
			want := map[string]string{
				"Headgate-User":        "müller",
				"Headgate-Session":     `{"citt\u00e0":"Forl\u00ec","del":"\u007f","emoji":"\ud83e\udd86"}`,
				"Headgate-Session-Ref": rs.Session().Ref,
			}
			for name, value := range want {
				if got := r.Header[name]; len(got) != 1 || got[0] != value {
					t.Errorf("%s: %q, want %q", name, got, value)
				}
			}
			if strings.Contains(b.value()[24:], rs.Session().Ref) {
				t.Error("the reference holds the secret")
			}
		}
	})
}

func TestAnAnonymousSessionIsForwardedWithoutUser(t *testing.T) {
	t.Parallel()
	m := newManager(t, session.Options{})
	var b browser
	b.start(t, m, optional).mustAnswer(session.HeaderMerge, `{"cart":1}`)
	h := http.Header{"Headgate-User": {"admin"}}
	b.get(t, m).rs.ForwardHeaders(h)
	if _, ok := h["Headgate-User"]; ok || h.Get("Headgate-Session") != `{"cart":1}` || h.Get("Headgate-Session-Ref") == "" {
		t.Errorf("forwarded: %v", h)
	}
}

func TestDataAboveFourKiBIsLeftOutOfTheHeader(t *testing.T) {
	t.Parallel()
	m := newManager(t, session.Options{Settings: session.Settings{MaxData: 64 << 10}})
	var b browser
	pad := strings.Repeat("x", 3000)
	b.start(t, m, login).mustAnswer(session.HeaderLogin, "42", session.HeaderMerge, `{"a":"`+pad+`"}`)
	h := http.Header{}
	b.get(t, m).rs.ForwardHeaders(h)
	if len(h.Get("Headgate-Session")) < 3000 {
		t.Error("3 KiB were left out")
	}
	b.start(t, m, optional).mustAnswer(session.HeaderMerge, `{"b":"`+pad+`"}`)
	h = http.Header{}
	b.get(t, m).rs.ForwardHeaders(h)
	if _, ok := h["Headgate-Session"]; ok || h.Get("Headgate-User") != "42" || h.Get("Headgate-Session-Ref") == "" {
		t.Errorf("forwarded: %v", h)
	}
}

func TestAResponseIsCleaned(t *testing.T) {
	t.Parallel()
	m := newManager(t, session.Options{})
	for mode, kept := range map[session.Mode]int{session.Optional: 1, session.Off: 2} {
		h := http.Header{"Headgate-Login": {"42"}, "headgate_logout": {"session"}, "Set-Cookie": {"__Host-session=mine", "a=1"}}
		m.ForRequest(httptest.NewRequest(http.MethodGet, "http://shop.example/", nil), session.Route{Mode: mode}).TakeActions(h)
		if len(h) != 1 || len(h["Set-Cookie"]) != kept {
			t.Errorf("%s: left %v", mode, h)
		}
	}
}

func FuzzStripReserved(f *testing.F) {
	f.Add("Headgate-User", "close, headgate_user")
	f.Add("HEADGATE\x00", ",,Headgate ,")
	f.Fuzz(func(t *testing.T, name, connection string) {
		h := http.Header{name: {"x"}, "Connection": {connection}}
		session.StripReserved(h)
		for name, values := range h {
			if mapped := spell(name); strings.HasPrefix(mapped, "headgate-") || mapped == "headgate" {
				t.Fatalf("%q is left", name)
			}
			if name != "Connection" {
				continue
			}
			for _, token := range strings.Split(strings.Join(values, ","), ",") {
				if mapped := spell(strings.Trim(token, " \t")); strings.HasPrefix(mapped, "headgate-") || mapped == "headgate" {
					t.Fatalf("Connection still names %q", token)
				}
			}
		}
	})
}

// spell is how CGI and its heirs see a header's name.
func spell(name string) string {
	out := []byte(strings.ToLower(name))
	for i, c := range out {
		if (c < 'a' || c > 'z') && (c < '0' || c > '9') {
			out[i] = '-'
		}
	}
	return string(out)
}
