package session_test

import (
	"bytes"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"time"

	"github.com/headgate/headgate/middleware/session"
)

func TestCookieAttributes(t *testing.T) {
	t.Parallel()
	for name, c := range map[string]struct {
		options session.CookieOptions
		want    string // without the value
	}{
		"by default":   {session.CookieOptions{}, "__Host-session=VALUE; Path=/; Max-Age=43200; HttpOnly; Secure; SameSite=Lax"},
		"strict":       {session.CookieOptions{SameSite: session.SameSiteStrict}, "__Host-session=VALUE; Path=/; Max-Age=43200; HttpOnly; Secure; SameSite=Strict"},
		"cross-site":   {session.CookieOptions{SameSite: session.SameSiteNone}, "__Host-session=VALUE; Path=/; Max-Age=43200; HttpOnly; Secure; SameSite=None"},
		"a domain's":   {session.CookieOptions{Domain: "shop.example"}, "session=VALUE; Path=/; Domain=shop.example; Max-Age=43200; HttpOnly; Secure; SameSite=Lax"},
		"below a path": {session.CookieOptions{Path: "/shop"}, "session=VALUE; Path=/shop; Max-Age=43200; HttpOnly; Secure; SameSite=Lax"},
		"insecure":     {session.CookieOptions{Insecure: true}, "session=VALUE; Path=/; Max-Age=43200; HttpOnly; SameSite=Lax"},
		"named":        {session.CookieOptions{Name: "__Secure-id", Domain: "shop.example"}, "__Secure-id=VALUE; Path=/; Domain=shop.example; Max-Age=43200; HttpOnly; Secure; SameSite=Lax"},
	} {
		m := newManager(t, session.Options{Settings: session.Settings{Cookie: c.options}})
		var b browser
		b.login(t, m, "42")
		given := *b.current()
		if len(given.Value) != 67 {
			t.Errorf("%s: a token of %d characters", name, len(given.Value))
		}
		given.Value = "VALUE"
		if got := given.String(); got != c.want {
			t.Errorf("%s: %s", name, got)
		}

		// Deleting it takes the same name, domain and path.
		r := httptest.NewRequest(http.MethodPost, "http://shop.example/", nil)
		r.AddCookie(&http.Cookie{Name: b.current().Name, Value: b.value()})
		rs := m.ForRequest(r, logout)
		if err := rs.Load(t.Context()); err != nil {
			t.Fatal(err)
		}
		gone, err := rs.Commit(t.Context(), session.Actions{})
		if err != nil || gone == nil {
			t.Fatalf("%s: %v, %v", name, gone, err)
		}
		if gone.Name != given.Name || gone.Path != given.Path || gone.Domain != given.Domain || gone.Secure != given.Secure ||
			gone.MaxAge >= 0 || gone.Value != "" || gone.Expires.After(time.Now()) {
			t.Errorf("%s: the deletion is %s", name, gone)
		}
	}
}

func TestMistakesInTheSettingsAreRefused(t *testing.T) {
	t.Parallel()
	for name, s := range map[string]session.Settings{
		"__Host- with a domain":           {Cookie: session.CookieOptions{Name: "__Host-x", Domain: "shop.example"}},
		"__host- in lower case, insecure": {Cookie: session.CookieOptions{Name: "__host-x", Insecure: true}},
		"__Secure- without Secure":        {Cookie: session.CookieOptions{Name: "__Secure-x", Insecure: true}},
		"SameSite=None without Secure":    {Cookie: session.CookieOptions{SameSite: session.SameSiteNone, Insecure: true}},
		"a cookie name with a space":      {Cookie: session.CookieOptions{Name: "a b"}},
		"a path with a semicolon":         {Cookie: session.CookieOptions{Path: "/;x"}},
		"a short secret":                  {Secrets: [][]byte{[]byte("too short")}},
		"a negative timeout":              {IdleTimeout: -time.Second},
		"too many per user":               {MaxPerUser: 100000},
		"a login page elsewhere":          {LoginPath: "https://evil.example/login"},
		"a login page on another host":    {LoginPath: "//evil.example/login"},
		"a trusted origin with a path":    {CSRF: session.CSRFOptions{TrustedOrigins: []string{"https://shop.example/x"}}},
	} {
		if _, err := session.New(session.Options{Settings: s}); err == nil {
			t.Errorf("%s: accepted", name)
		}
	}
}

func secrets(names ...string) (all [][]byte) {
	for _, name := range names {
		all = append(all, bytes.Repeat([]byte(name), 32))
	}
	return all
}

func TestSecretsRotateWithoutLoggingAnybodyOut(t *testing.T) {
	t.Parallel()
	onEachStore(t, session.Settings{Secrets: secrets("a"), RotateEvery: time.Minute}, func(t *testing.T, f *fleet) {
		var b browser
		b.login(t, f.instances[0], "42")
		both, err := f.instances[0].With(session.Settings{Secrets: secrets("b", "a"), RotateEvery: time.Minute})
		if err != nil {
			t.Fatal(err)
		}
		onlyNew, err := f.instances[1].With(session.Settings{Secrets: secrets("b")})
		if err != nil {
			t.Fatal(err)
		}
		wantUser(t, b.start(t, both, optional), "42")
		wantUser(t, b.start(t, onlyNew, optional), "-")
		f.clock.Advance(time.Minute)
		wantUser(t, b.get(t, both), "42") // rotated, and signed with the new secret
		wantUser(t, b.start(t, onlyNew, optional), "42")
	})
}

func TestASignedCookieCannotBeAltered(t *testing.T) {
	t.Parallel()
	m := newManager(t, session.Options{Settings: session.Settings{Secrets: secrets("a")}})
	var b browser
	b.login(t, m, "42")
	good := b.value()
	for i := range good {
		for _, c := range []byte{'A', 'B', '.', good[i] ^ 1} {
			if good[i] == c {
				continue
			}
			bad := browser{cookie: &http.Cookie{Name: cookieName, Value: good[:i] + string(c) + good[i+1:]}}
			if r := bad.start(t, m, optional); r.session() != nil || r.rs.HasToken() {
				t.Fatalf("altered at %d: carries %v, session %v", i, r.rs.HasToken(), r.session())
			}
		}
	}
	wantUser(t, b.get(t, m), "42")
}

// A change of the cookie's domain or path leaves browsers with two of one name.
func TestALiveSessionIsFoundAmongCookiesOfOneName(t *testing.T) {
	t.Parallel()
	onEachStore(t, session.Settings{}, func(t *testing.T, f *fleet) {
		var b browser
		b.login(t, f.instances[0], "42")
		dead := strings.Repeat("A", 67)
		for _, line := range []string{
			"__Host-session=" + dead + "; __Host-session=" + b.value(),
			"__Host-session=" + b.value() + "; __Host-session=" + dead,
			"__Host-session=junk; a=b; __Host-session=\"" + b.value() + "\"",
		} {
			r := httptest.NewRequest(http.MethodGet, "http://shop.example/", nil)
			r.Header.Set("Cookie", line)
			rs := f.instances[1].ForRequest(r, required)
			if err := rs.Load(t.Context()); err != nil || rs.Session() == nil {
				t.Errorf("%s: %v", line, err)
			}
		}
	})
}

func TestOurCookieAloneIsCut(t *testing.T) {
	t.Parallel()
	m := newManager(t, session.Options{})
	for name, c := range map[string]struct{ in, want []string }{
		"alone":           {[]string{"__Host-session=x"}, nil},
		"among others":    {[]string{"a=1; __Host-session=x; b=2"}, []string{"a=1; b=2"}},
		"first and last":  {[]string{"__Host-session=x; a=1; __Host-session=y"}, []string{"a=1"}},
		"on its own line": {[]string{"a=1", "__Host-session=x", "b=2"}, []string{"a=1", "b=2"}},
		"untouched":       {[]string{`a="1;  2" ;b==; ;c`}, []string{`a="1;  2" ;b==; ;c`}},
		"similar names":   {[]string{"x__Host-session=1; __Host-session2=2; __host-session=3"}, []string{"x__Host-session=1; __Host-session2=2; __host-session=3"}},
		"in a value":      {[]string{"a=__Host-session"}, []string{"a=__Host-session"}},
		"without value":   {[]string{"__Host-session; a=1"}, []string{"a=1"}},
		"none":            {nil, nil},
	} {
		h := http.Header{}
		if c.in != nil {
			h["Cookie"] = c.in
		}
		m.CutCookie(h)
		if got := h["Cookie"]; strings.Join(got, "|") != strings.Join(c.want, "|") || (got == nil) != (c.want == nil) {
			t.Errorf("%s: %q, want %q", name, got, c.want)
		}
	}
}

func TestOurSetCookieReplacesAnEarlierOneAndForbidsCaching(t *testing.T) {
	t.Parallel()
	m := newManager(t, session.Options{})
	h := http.Header{"Set-Cookie": {"__Host-session=evil; Path=/", "a=1"}, "Cache-Control": {"public, max-age=60"}}
	m.SetCookie(h, nil)
	if len(h["Set-Cookie"]) != 2 || h.Get("Cache-Control") != "public, max-age=60" {
		t.Fatalf("without a cookie: %v", h)
	}
	m.SetCookie(h, &http.Cookie{Name: cookieName, Value: "new"})
	if got := h["Set-Cookie"]; len(got) != 2 || got[0] != "a=1" || got[1] != "__Host-session=new" || h.Get("Cache-Control") != "private, no-store" {
		t.Fatalf("with a cookie: %v", h)
	}
}

func FuzzCookie(f *testing.F) {
	m, err := session.New(session.Options{Settings: session.Settings{Cookie: session.CookieOptions{Name: "s"}}})
	if err != nil {
		f.Fatal(err)
	}
	f.Add("s=" + strings.Repeat("A", 67))
	f.Add("a=1; s=x;;s=; s")
	f.Fuzz(func(t *testing.T, line string) {
		r := httptest.NewRequest(http.MethodGet, "http://shop.example/", nil)
		r.Header["Cookie"] = []string{line}
		rs := m.ForRequest(r, optional)
		if err := rs.Load(t.Context()); err != nil || rs.Session() != nil {
			t.Fatalf("session %v, error %v", rs.Session(), err)
		}
		m.CutCookie(r.Header)
		for _, c := range r.Cookies() {
			if c.Name == "s" {
				t.Fatalf("%q is left of %q", r.Header["Cookie"], line)
			}
		}
	})
}
