package session_test

import (
	"net/http"
	"strings"
	"testing"

	"github.com/headgate/headgate/middleware/session"
)

// Number 18 of issue 14: Node's setHeader writes Latin-1. The name is read as such, and the app
// gets back the octets that it sent.
func TestAUsersNameInLatin1(t *testing.T) {
	t.Parallel()
	onEachStore(t, session.Settings{}, func(t *testing.T, f *fleet) {
		for sent, name := range map[string]string{
			"m\xfcller": "müller", "müller": "müller", "\xc5ngstr\xf6m": "Ångström",
			strings.Repeat("\xfc", 256): strings.Repeat("ü", 256),
		} {
			var b browser
			b.login(t, f.instances[0], sent)
			r := b.start(t, f.instances[1], optional)
			wantUser(t, r, name)
			h := http.Header{}
			if r.rs.ForwardHeaders(h); h.Get(session.HeaderUser) != sent {
				t.Errorf("sent %q, and given back %q", sent, h.Get(session.HeaderUser))
			}
			if all := list(t, f.instances[0], name); len(all) == 0 || all[0].User != name {
				t.Errorf("%q is listed as %+v", sent, all)
			}
			b.start(t, f.instances[1], optional).mustAnswer(session.HeaderRenew, "?1")
			h = http.Header{}
			if b.start(t, f.instances[0], optional).rs.ForwardHeaders(h); h.Get(session.HeaderUser) != sent {
				t.Errorf("after a renewal %q is given back as %q", sent, h.Get(session.HeaderUser))
			}
		}
		// To an app that writes Latin-1, these are two users, of whom neither gets the other's data.
		var b browser
		b.start(t, f.instances[0], login).mustAnswer(session.HeaderLogin, "m\xfcller", session.HeaderMerge, `{"own":1}`)
		b.login(t, f.instances[0], "m\xc3\xbcller")
		wantData(t, b.get(t, f.instances[1]), `{}`)
	})
}

func TestDataInLatin1(t *testing.T) {
	t.Parallel()
	m := newManager(t, session.Options{})
	var b browser
	b.start(t, m, optional).mustAnswer(session.HeaderMerge, "{\"citt\xe0\":\"Forl\xec\"}")
	wantData(t, b.get(t, m), `{"citt\u00e0":"Forl\u00ec"}`)
}

// 4 KiB of data are counted as they are before they are escaped to ASCII.
func TestDataIsCountedBeforeItIsEscaped(t *testing.T) {
	t.Parallel()
	const frame = len(`{"a":""}`)
	for name, c := range map[string]struct {
		text string
		fits bool
	}{
		"1,000 letters with accents": {strings.Repeat("é", 1000), true},
		"letters of two bytes":       {strings.Repeat("é", (4096-frame)/2), true},
		"one too many":               {strings.Repeat("é", (4096-frame)/2+1), false},
		"letters of three bytes":     {strings.Repeat("€", (4096-frame)/3), true},
		"of four bytes":              {strings.Repeat("🦆", (4096-frame)/4), true},
		"of four, one too many":      {strings.Repeat("🦆", (4096-frame)/4+1), false},
		"ASCII":                      {strings.Repeat("x", 4096-frame), true},
		"ASCII, one too many":        {strings.Repeat("x", 4096-frame+1), false},
		"backslashes":                {strings.Repeat(`\\u00e9`, (4096-frame)/7), true},
		"backslashes, too many":      {strings.Repeat(`\\u00e9`, (4096-frame)/7+1), false},
		"escaped by the app":         {strings.Repeat(`\u00e9`, (4096-frame)/2), true},
		"DEL":                        {strings.Repeat("\x7f", 4096-frame), true},
	} {
		m := newManager(t, session.Options{})
		var b browser
		err := b.start(t, m, optional).answer(session.HeaderMerge, `{"a":"`+c.text+`"}`)
		if (err == nil) != c.fits || err != nil && session.Status(err) != 502 {
			t.Errorf("%s: %v", name, err)
		}
		if !c.fits {
			continue
		}
		h := http.Header{}
		r := b.get(t, m)
		if r.rs.ForwardHeaders(h); h.Get(session.HeaderSession) != r.data() || r.data() == "" {
			t.Errorf("%s: %d bytes are forwarded of %d", name, len(h.Get(session.HeaderSession)), len(r.data()))
		}
	}
}
