package replay_test

import (
	"bytes"
	"io"
	"strings"
	"testing"
	"time"

	"github.com/headgate/headgate/gateway/replay"
	"github.com/headgate/headgate/gateway/replay/logs"
	"github.com/headgate/headgate/policies"
)

// parse loads a policy that is written in a test.
func parse(t testing.TB, policy string) *policies.Policy {
	t.Helper()
	p, problems := policies.Parse("headgate.yaml", []byte("version: 1\n"+policy), policies.LoadOptions{
		LookupEnv: func(string) (string, bool) { return "", false },
	})
	if problems.HasErrors() {
		t.Fatalf("%v\nin\n%s", problems, policy)
	}
	return p
}

const shop = "upstreams: {shop: {servers: [http://127.0.0.1:9001]}}\n"

// text is a log that consists of this.
func text(name, content string) logs.Log {
	return logs.Log{Name: name, Open: func() (io.ReadCloser, int64, error) {
		return io.NopCloser(strings.NewReader(content)), int64(len(content)), nil
	}}
}

// run replays logs and fails the test where that fails.
func run(t testing.TB, o replay.Options) *replay.Report {
	t.Helper()
	r, err := replay.Run(t.Context(), o)
	if err != nil {
		t.Fatal(err)
	}
	return r
}

// midnight is when the logs of tests begin.
var midnight = time.Date(2026, 1, 2, 0, 0, 0, 0, time.UTC)

// line is a line of a combined log.
type line struct {
	at     time.Duration // after midnight
	ip     string
	method string // "": GET
	uri    string // "": /
	status string // "": 200
	agent  string // "": a browser
}

const browser = "Mozilla/5.0 (X11; Linux x86_64; rv:128.0) Gecko/20100101 Firefox/128.0"

func (l line) String() string {
	or := func(s, otherwise string) string {
		if s == "" {
			return otherwise
		}
		return s
	}
	return l.ip + " - - [" + midnight.Add(l.at).Format("02/Jan/2006:15:04:05 -0700") + `] "` +
		or(l.method, "GET") + " " + or(l.uri, "/") + ` HTTP/1.1" ` + or(l.status, "200") + ` 512 "-" "` + or(l.agent, browser) + "\"\n"
}

func combined(lines ...line) logs.Log {
	var b bytes.Buffer
	for _, l := range lines {
		b.WriteString(l.String())
	}
	return text("access.log", b.String())
}
