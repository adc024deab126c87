package session_test

import (
	"net/http"
	"strings"
	"testing"
	"time"

	"github.com/headgate/headgate/middleware/session"
)

// devices returns a Manager whose clock is t's.
func devices(t *testing.T, at *time.Time, cookie session.CookieOptions, secrets ...string) *session.Manager {
	t.Helper()
	var set session.Settings
	set.Cookie = cookie
	for _, s := range secrets {
		set.Secrets = append(set.Secrets, []byte(strings.Repeat(s, 32)))
	}
	return newManager(t, session.Options{Settings: set, Now: func() time.Time { return *at }})
}

func TestADeviceIsKnownToTheAccountsThatItHasLoggedInTo(t *testing.T) {
	t.Parallel()
	at := time.Date(2026, 3, 1, 23, 0, 0, 0, time.UTC)
	m := devices(t, &at, session.CookieOptions{}, "a")
	other := devices(t, &at, session.CookieOptions{}, "b", "a") // an instance that has rotated its secrets
	const shop, blog = "shop.example/app", "blog.example/app"

	first := m.DeviceCookie(nil, shop, "alice")
	id := m.KnownDevice([]string{first.Value}, shop, "alice")
	if id == "" || other.KnownDevice([]string{"junk", first.Value}, shop, "alice") != id {
		t.Fatalf("the device is not known: %q", id)
	}
	if strings.Contains(first.Value, "alice") || len(first.Value) != 43 {
		t.Errorf("the cookie is %q", first.Value)
	}
	for name, got := range map[string]string{
		"another account":    m.KnownDevice([]string{first.Value}, shop, "bob"),
		"another realm":      m.KnownDevice([]string{first.Value}, blog, "alice"),
		"another spelling":   m.KnownDevice([]string{first.Value}, shop, "Alice"),
		"realm and account":  m.KnownDevice([]string{first.Value}, "shop.example/appa", "lice"),
		"another key":        devices(t, &at, session.CookieOptions{}, "b").KnownDevice([]string{first.Value}, shop, "alice"),
		"no key":             devices(t, &at, session.CookieOptions{}).KnownDevice([]string{first.Value}, shop, "alice"),
		"a changed ID":       m.KnownDevice([]string{"B" + first.Value[1:]}, shop, "alice"),
		"another device's":   m.KnownDevice([]string{m.DeviceCookie(nil, shop, "bob").Value}, shop, "alice"),
		"one entry too many": m.KnownDevice([]string{strings.Repeat(m.DeviceCookie(nil, shop, "bob").Value+".", 8) + first.Value}, shop, "alice"),
	} {
		if got == id {
			t.Errorf("%s: the device is known", name)
		}
	}

	// A login makes no new device, lasts for another year from then on, and is signed by the new secret.
	at = at.Add(300 * 24 * time.Hour)
	second := other.DeviceCookie([]string{first.Value}, shop, "alice")
	if got := other.KnownDevice([]string{second.Value}, shop, "alice"); got != id || strings.Contains(second.Value, ".") {
		t.Errorf("after another login: device %q, cookie %q, want device %q", got, second.Value, id)
	}
	at = at.Add(66 * 24 * time.Hour)
	if other.KnownDevice([]string{first.Value}, shop, "alice") != "" || other.KnownDevice([]string{second.Value}, shop, "alice") != id {
		t.Error("a device is known for a year after its last login")
	}
	if devices(t, &at, session.CookieOptions{}).DeviceCookie(nil, shop, "alice") != nil {
		t.Error("a cookie that nothing signs")
	}
}

func TestADeviceIsKnownToTheLastEightAccounts(t *testing.T) {
	t.Parallel()
	at := time.Now()
	m := devices(t, &at, session.CookieOptions{}, "a")
	value := ""
	for _, account := range strings.Split("a b c d e f g h a i", " ") {
		value = m.DeviceCookie([]string{value}, "x/", account).Value
	}
	for account, want := range map[string]bool{"b": false, "a": true, "c": true, "i": true} {
		if got := m.KnownDevice([]string{value}, "x/", account) != ""; got != want {
			t.Errorf("known to %s: %v", account, got)
		}
	}
	if n := len(strings.Split(value, ".")); n != 8 || len(value) > 400 {
		t.Errorf("%d entries in %d bytes", n, len(value))
	}
}

func TestTheCookieOfKnownDevicesIsLikeTheSessions(t *testing.T) {
	t.Parallel()
	at := time.Now()
	for name, tt := range map[string]struct {
		set  session.CookieOptions
		want http.Cookie
	}{
		"by default": {session.CookieOptions{}, http.Cookie{Name: "__Host-headgate-devices", Path: "/", Secure: true, SameSite: http.SameSiteLaxMode}},
		"in a domain": {session.CookieOptions{Domain: "shop.example", SameSite: session.SameSiteStrict},
			http.Cookie{Name: "headgate-devices", Path: "/", Domain: "shop.example", Secure: true, SameSite: http.SameSiteStrictMode}},
		"without TLS": {session.CookieOptions{Insecure: true, Path: "/app"}, http.Cookie{Name: "headgate-devices", Path: "/app", SameSite: http.SameSiteLaxMode}},
	} {
		m := devices(t, &at, tt.set, "a")
		got := m.DeviceCookie(nil, "x/", "alice")
		tt.want.Value, tt.want.MaxAge, tt.want.HttpOnly = got.Value, 365*24*60*60, true
		if got.String() != tt.want.String() || m.DeviceCookieName() != tt.want.Name {
			t.Errorf("%s: %s, want %s", name, got, &tt.want)
		}
	}
}

func TestWhereADeviceIsKnown(t *testing.T) {
	t.Parallel()
	at := time.Now()
	host := devices(t, &at, session.CookieOptions{}, "a")
	domain := devices(t, &at, session.CookieOptions{Domain: ".Shop.example"}, "a")
	for _, tt := range []struct {
		m                *session.Manager
		host, app, realm string
	}{
		{host, "Shop.example:8443", "app", "shop.example/app"},
		{host, "www.shop.example", "app", "www.shop.example/app"},
		{domain, "www.shop.example:443", "app", ".shop.example/app"},
		{domain, "shop.example", "blog", ".shop.example/blog"},
		{domain, "notshop.example", "app", "notshop.example/app"},
	} {
		if got := tt.m.DeviceRealm(tt.host, tt.app); got != tt.realm {
			t.Errorf("%s: %q, want %q", tt.host, got, tt.realm)
		}
	}
}

func FuzzKnownDevice(f *testing.F) {
	at := time.Now()
	m, err := session.New(session.Options{Settings: session.Settings{Secrets: [][]byte{[]byte(strings.Repeat("a", 32))}}, Now: func() time.Time { return at }})
	if err != nil {
		f.Fatal(err)
	}
	good := m.DeviceCookie(nil, "x/", "alice").Value
	f.Add(good, "bob")
	f.Add(good+"."+good[:42], "alic")
	f.Add("...", "")
	f.Fuzz(func(t *testing.T, value, account string) {
		known := m.KnownDevice([]string{value}, "x/", account)
		if known != "" && (account != "alice" || !strings.Contains(value, good)) {
			t.Fatalf("%q is a device of %q", value, account)
		}
		next := m.DeviceCookie([]string{value}, "x/", account)
		if m.KnownDevice([]string{next.Value}, "x/", account) == "" || len(next.Value) > 400 || next.Valid() != nil {
			t.Fatalf("after %q: %q", value, next.Value)
		}
	})
}
