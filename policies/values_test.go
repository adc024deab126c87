package policies_test

import (
	"bytes"
	"encoding/json"
	"fmt"
	"log/slog"
	"strings"
	"testing"

	"github.com/headgate/headgate/policies"
	"go.yaml.in/yaml/v3"
)

func TestSecretsDoNotShowHoweverTheyArePrinted(t *testing.T) {
	t.Parallel()
	value := struct {
		Token policies.Secret
		URL   policies.RedisURL
	}{"hunter2", "redis://me:hunter2@h:6379,redis://me:hunter2@i:6379"}
	asJSON, err := json.Marshal(value)
	if err != nil {
		t.Fatal(err)
	}
	asYAML, err := yaml.Marshal(value)
	if err != nil {
		t.Fatal(err)
	}
	var log bytes.Buffer
	slog.New(slog.NewTextHandler(&log, nil)).Info("m", "token", value.Token, "url", value.URL)
	slog.New(slog.NewJSONHandler(&log, nil)).Info("m", "token", value.Token, "url", value.URL)
	for _, shown := range []string{
		string(asJSON), string(asYAML), log.String(),
		fmt.Sprint(value.Token, value.URL), fmt.Sprintf("%v %+v %#v %s %q", value, value, value, value, value),
	} {
		if strings.Contains(shown, "hunter2") || !strings.Contains(shown, "***") {
			t.Errorf("shown as %s", shown)
		}
	}
	if value.Token.Reveal() != "hunter2" || policies.Secret("").String() != "" {
		t.Error("a secret is not itself")
	}
}

func TestPasswordsInURLsAreMaskedInEveryForm(t *testing.T) {
	t.Parallel()
	for url, want := range map[string]string{
		"":                                  "",
		"redis://localhost":                 "redis://localhost",
		"redis://:pw@h:6379/0":              "redis://:***@h:6379/0",
		"redis://pw@h":                      "redis://***@h",
		"redis://u:p:w@h":                   "redis://u:***@h",
		"redis://u:p@w@h":                   "redis://u:***@h",
		"redis+cluster://u:pw@a:1,b:2":      "redis+cluster://u:***@a:1,b:2",
		"rediss://h?Password=x&db=1&%zz=pw": "rediss://h?Password=***&db=1&%zz=***",
		"no url, maybe a password":          "***",
	} {
		if got := policies.RedisURL(url).String(); got != want {
			t.Errorf("%s is shown as %s, want %s", url, got, want)
		}
	}
}

func TestDiagnosticsReadAsOneLineEach(t *testing.T) {
	t.Parallel()
	at := policies.Position{File: "p.yaml", Line: 3, Column: 7}
	ds := policies.Diagnostics{
		{Position: at, Severity: policies.Error, Message: "it is wrong", Mend: "right it"},
		{Position: at, Severity: policies.Warning, Message: "it is odd", Mend: "think again"},
	}
	const want = "p.yaml:3:7: it is wrong; right it\np.yaml:3:7: warning: it is odd; think again\n"
	if got := ds.String(); got != want {
		t.Errorf("got\n%s", got)
	}
	if err := ds.Err(); err == nil || err.Error() != "p.yaml:3:7: it is wrong; right it" {
		t.Errorf("got error %v", err)
	}
	if ds[1:].Err() != nil || ds[1:].HasErrors() {
		t.Error("warnings are no errors")
	}
}
