package logs_test

import (
	"errors"
	"io"
	"net/netip"
	"path/filepath"
	"slices"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/google/go-cmp/cmp/cmpopts"
	"github.com/headgate/headgate/gateway/replay/logs"
)

// knownLogs returns the files of testdata. Each has the same three requests; its name begins with that of its format.
func knownLogs(t testing.TB) []string {
	t.Helper()
	files, err := filepath.Glob("testdata/*.log")
	if err != nil || len(files) == 0 {
		t.Fatalf("%v, %v", files, err)
	}
	return files
}

// text is a log that consists of this.
func text(content string) logs.Log {
	return logs.Log{Name: "log", Open: func() (io.ReadCloser, int64, error) {
		return io.NopCloser(strings.NewReader(content)), int64(len(content)), nil
	}}
}

func open(t *testing.T, l logs.Log, f logs.Format) *logs.Reader {
	t.Helper()
	r, err := logs.NewReader(l, f, new(atomic.Int64))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(r.Close)
	return r
}

// readAll reads a log that has no bad line.
func readAll(t *testing.T, r *logs.Reader) (all []logs.Record) {
	t.Helper()
	for {
		line, err := r.Line()
		if errors.Is(err, io.EOF) {
			return all
		}
		if err != nil {
			t.Fatal(err)
		}
		var rec logs.Record
		if err := r.Parse(line, &rec); err != nil {
			t.Fatalf("%s: %v", line, err)
		}
		all = append(all, rec)
	}
}

// Each known log holds the same three requests of one client, at 10:00:00.5, 10:00:01.5 and 10:00:02.5, or
// without the fraction.
func TestEachFormatIsFoundAndReadAlike(t *testing.T) {
	t.Parallel()
	const ms = time.Millisecond
	tests := map[string]struct {
		took                      time.Duration // the second request's
		wholeSeconds              bool
		withoutHost, withoutAgent bool
	}{
		"combined":         {wholeSeconds: true, withoutHost: true},
		"common":           {wholeSeconds: true, withoutHost: true, withoutAgent: true},
		"combined-vhost":   {wholeSeconds: true},
		"combined-traefik": {took: 12 * ms, wholeSeconds: true, withoutHost: true},
		"nginx-msec":       {took: 250 * ms},
		"nginx-iso8601":    {wholeSeconds: true},
		"caddy":            {took: 250 * ms},
		"traefik":          {took: 250 * ms},
		"headgate":         {took: 250 * ms},
	}
	ten := time.Date(2026, 1, 2, 10, 0, 0, 0, time.UTC)
	seen := map[logs.Format]bool{}
	for _, file := range knownLogs(t) {
		name := strings.TrimSuffix(filepath.Base(file), ".log")
		prefix, _, _ := strings.Cut(name, "-")
		format := logs.Format(prefix)
		seen[format] = true
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			tt, ok := tests[name]
			if !ok {
				t.Fatal("say here what this log does not tell")
			}
			r := open(t, logs.File(file), logs.Auto)
			if r.Format() != format || r.Compression() != "plain" || r.Size() == 0 {
				t.Fatalf("%s, %s, %d bytes", r.Format(), r.Compression(), r.Size())
			}
			first := ten
			if !tt.wholeSeconds {
				first = ten.Add(500 * ms)
			}
			login := logs.Record{Addr: netip.MustParseAddr("2001:db8::7"), Method: "POST", Host: "shop.example", URI: "/login?v=2", Status: 401, Agent: "curl/8.5.0", HasAgent: true}
			page := login
			page.Method, page.URI, page.Status = "GET", "/x", 404
			want := []logs.Record{login, login, page}
			for i := range want {
				want[i].At = first.Add(time.Duration(i) * time.Second).UnixMicro()
				if tt.withoutHost {
					want[i].Host = ""
				}
				if tt.withoutAgent {
					want[i].Agent, want[i].HasAgent = "", false
				}
			}
			got := readAll(t, r)
			if len(got) == 3 && got[1].Took != tt.took {
				t.Errorf("took %v, want %v", got[1].Took, tt.took)
			}
			for i := range got {
				got[i].Host = strings.TrimSuffix(strings.ToLower(got[i].Host), ":443")
			}
			if diff := cmp.Diff(want, got, cmpopts.IgnoreFields(logs.Record{}, "Took", "Bytes", "Referer", "Own"), cmpopts.EquateComparable(netip.Addr{})); diff != "" {
				t.Error(diff)
			}
		})
	}
	for _, f := range logs.Formats()[1:] {
		if !seen[f] {
			t.Errorf("no log in testdata is known to be %s", f)
		}
	}
}

func TestDetectionPlacesAreDistinct(t *testing.T) {
	t.Parallel()
	places := logs.DetectionPlaces()
	for i := range places {
		if places[i] != i+1 {
			t.Fatalf("the formats' places in detection are %v", places)
		}
	}
}

func TestEveryFormatSaysWhatItIs(t *testing.T) {
	t.Parallel()
	for _, f := range logs.Formats() {
		if f.About() == "" {
			t.Errorf("the table says nothing about %s", f)
		}
	}
}

func TestHeadgatesLogIsReadWhole(t *testing.T) {
	t.Parallel()
	const line = `{"time":"2026-01-02T10:00:00.500Z","client_ip":"192.0.2.1","method":"POST","host":"a","uri":"/","status":503,"bytes":7,"duration_ms":1.5,` +
		`"route":"r","limit":"l","client":"acme","user":"u","session":"s","upstream":"http://10.0.0.1","login":true,"error":"no server","user_agent":"ua","referer":"ref"}`
	got, err := logs.ParseLine(logs.Headgate, []byte(line))
	if err != nil {
		t.Fatal(err)
	}
	want := logs.Record{
		At: time.Date(2026, 1, 2, 10, 0, 0, 5e8, time.UTC).UnixMicro(), Took: 1500 * time.Microsecond, Addr: netip.MustParseAddr("192.0.2.1"),
		Method: "POST", Host: "a", URI: "/", Status: 503, Bytes: 7, Agent: "ua", HasAgent: true, Referer: "ref",
		Own: &logs.Own{Route: "r", Limit: "l", Client: "acme", User: "u", Session: "s", AnsweredByApp: true, GatewayError: true, LoggedIn: true},
	}
	if diff := cmp.Diff(want, got, cmpopts.EquateComparable(netip.Addr{})); diff != "" {
		t.Error(diff)
	}
}

func TestALineThatIsTooLongDoesNotHideTheNext(t *testing.T) {
	t.Parallel()
	r := open(t, text(strings.Repeat("x", 1<<20)+"\nnext\r\n"), logs.Combined)
	if line, err := r.Line(); !errors.Is(err, logs.ErrTooLong) || line != nil {
		t.Errorf("%.20q, %v", line, err)
	}
	if line, err := r.Line(); err != nil || string(line) != "next" {
		t.Errorf("%q, %v", line, err)
	}
	if _, err := r.Line(); !errors.Is(err, io.EOF) {
		t.Errorf("at the end: %v", err)
	}
}

func TestAnUnknownFormatIsRefused(t *testing.T) {
	t.Parallel()
	if _, err := logs.NewReader(text("x"), "iis", new(atomic.Int64)); err == nil || !strings.Contains(err.Error(), `"iis"`) {
		t.Errorf("got %v", err)
	}
	if _, err := logs.NewReader(text("x"), logs.Auto, new(atomic.Int64)); err == nil || !strings.Contains(err.Error(), "--format headgate|combined|common|nginx|caddy|traefik") {
		t.Errorf("got %v", err)
	}
	if !slices.Equal(logs.Formats(), []logs.Format{"auto", "headgate", "combined", "common", "nginx", "caddy", "traefik"}) {
		t.Errorf("%v", logs.Formats())
	}
}

func TestMalformedLinesAreRefusedWithAReason(t *testing.T) {
	t.Parallel()
	tests := map[string]struct {
		format     logs.Format
		line, want string
	}{
		"a host name for an address":   {logs.Combined, `host.example - - [02/Jan/2026:10:00:00 +0000] "GET / HTTP/1.1" 200 12`, "no client address"},
		"no time":                      {logs.Combined, `192.0.2.1 - - "GET / HTTP/1.1" 200 12`, "no [time]"},
		"a day that does not exist":    {logs.Combined, `192.0.2.1 - - [31/Feb/2026:10:00:00 +0000] "GET / HTTP/1.1" 200 12`, "no time that can be read"},
		"a month that does not exist":  {logs.Combined, `192.0.2.1 - - [01/anF/2026:10:00:00 +0000] "GET / HTTP/1.1" 200 12`, "no time that can be read"},
		"an open quote":                {logs.Combined, `192.0.2.1 - - [02/Jan/2026:10:00:00 +0000] "GET / HTTP/1.1 200 12`, "in quotes"},
		"no status":                    {logs.Combined, `192.0.2.1 - - [02/Jan/2026:10:00:00 +0000] "GET / HTTP/1.1" OK 12`, "no status"},
		"JSON that breaks off":         {logs.Nginx, `{"msec":1,"remote_addr":"192.0.2.1`, "no valid JSON"},
		"JSON with something after it": {logs.Nginx, `{"msec":1} x`, "no valid JSON"},
		"JSON without an address":      {logs.Nginx, `{"msec":1,"status":200,"request":"GET / HTTP/1.1"}`, "remote_addr"},
		"JSON without a request":       {logs.Nginx, `{"msec":1,"status":200,"remote_addr":"192.0.2.1"}`, "request_uri"},
		"a time before 1970":           {logs.Nginx, `{"time_iso8601":"1969-01-02T11:00:00Z","status":200,"remote_addr":"192.0.2.1","request":"GET / HTTP/1.1"}`, "no time"},
		"a line of Caddy's other logs": {logs.Caddy, `{"level":"info","ts":1767348000.75,"msg":"serving initial configuration"}`, "access log of Caddy"},
	}
	for name, tt := range tests {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			r := open(t, text(tt.line), tt.format)
			line, err := r.Line()
			if err != nil {
				t.Fatal(err)
			}
			if err := r.Parse(line, new(logs.Record)); err == nil || !strings.Contains(err.Error(), tt.want) {
				t.Errorf("got %v, want %q", err, tt.want)
			}
		})
	}
}
