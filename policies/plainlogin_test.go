package policies_test

import (
	"strings"
	"testing"

	"github.com/headgate/headgate/policies"
)

// The warning is for those alone whose users it concerns; testdata/mistakes has its text.
func TestLoginsWithoutTLSAreWarnedOf(t *testing.T) {
	t.Parallel()
	const login, optional = "session: login", "session: optional"
	for _, test := range []struct {
		server, more, session string
		warned                bool
	}{
		{`{}`, "", login, true},
		{`{listen: "0.0.0.0:80"}`, "", login, true},
		{`{public_scheme: http}`, "", login, true},
		{`{public_scheme: https}`, "", login, false},
		{`{trusted_proxies: [10.0.0.0/8]}`, "", login, false},
		{`{tls: {cert_file: a.pem, key_file: a.key}}`, "", login, false},
		{`{listen: ["127.0.0.1:80", "localhost:81", "[::1]:82"]}`, "", login, false},
		{`{}`, "session: {cookie: {secure: false}}", login, false}, // which has a warning of its own
		{`{}`, "", optional, false},
	} {
		text := "version: 1\nserver: " + test.server + "\n" + test.more + "\nupstreams: {app: {servers: [\"http://127.0.0.1:9001\"]}}\nroutes: [{name: all, path: /*, upstream: app, " + test.session + "}]\n"
		_, found := policies.Parse("p.yaml", []byte(text), policies.LoadOptions{LookupEnv: environment})
		if found.HasErrors() {
			t.Errorf("%s\n%s", found, text)
		}
		if got := strings.Contains(found.String(), "no login through"); got != test.warned {
			t.Errorf("warned is %v:\n%s\n%s", got, found, text)
		}
	}
}
