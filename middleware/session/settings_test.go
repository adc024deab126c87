package session_test

import (
	"bytes"
	"net/http"
	"os"
	"path/filepath"
	"testing"
	"time"

	"github.com/headgate/headgate/middleware/session"
)

func TestANegativeRotateEveryRenewsAtLoginAlone(t *testing.T) {
	t.Parallel()
	onEachStore(t, session.Settings{RotateEvery: -1, AbsoluteTimeout: 48 * time.Hour}, func(t *testing.T, f *fleet) {
		var b browser
		b.login(t, f.instances[0], "42")
		before := b.value()
		for range 40 {
			f.clock.Advance(20 * time.Minute)
			wantUser(t, b.get(t, f.instances[0]), "42")
		}
		if b.value() != before {
			t.Error("the ID was renewed")
		}
	})
}

func TestSettingsNameTheFilesOfSecretsAndOfTheAssertionKey(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	secret, key := filepath.Join(dir, "secret"), filepath.Join(dir, "key.pem")
	for name, text := range map[string][]byte{secret: append(bytes.Repeat([]byte("s"), 32), '\n'), key: pemOf(t, newKey(t))} {
		if err := os.WriteFile(name, text, 0o600); err != nil {
			t.Fatal(err)
		}
	}
	for _, c := range []struct{ audience, want string }{{"", "shop"}, {"apps", "apps"}} {
		m := newManager(t, session.Options{Settings: session.Settings{
			SecretsFile: []string{secret}, Assertion: session.AssertionOptions{KeyFile: key, Audience: c.audience},
		}})
		var b browser
		b.login(t, m, "42")
		if len(b.value()) <= 67 {
			t.Errorf("the cookie is not signed: %d characters", len(b.value()))
		}
		sent := http.Header{}
		b.start(t, m, session.Route{Mode: session.Optional, Audience: "shop"}).rs.ForwardHeaders(sent)
		claims, ok := verify(t, m.Signer().JWKS(), sent.Get(session.HeaderAssertion))
		if !ok || claims["aud"] != c.want {
			t.Errorf("%v, %v", claims, ok)
		}
	}
	for name, s := range map[string]session.Settings{
		"a secret that is not there": {SecretsFile: []string{"no-such-file"}},
		"a key that is not there":    {Assertion: session.AssertionOptions{KeyFile: "no-such-file"}},
		"an audience without a key":  {Assertion: session.AssertionOptions{Audience: "apps"}},
		"a key that is none":         {Assertion: session.AssertionOptions{KeyFile: secret}},
		"idle longer than absolute":  {IdleTimeout: time.Hour, AbsoluteTimeout: time.Minute},
	} {
		if _, err := session.New(session.Options{Settings: s}); err == nil {
			t.Errorf("%s: accepted", name)
		}
	}
}
