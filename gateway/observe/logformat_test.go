package observe_test

import (
	"encoding/json"
	"maps"
	"net/http"
	"net/netip"
	"os"
	"os/exec"
	"path/filepath"
	"reflect"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/headgate/headgate/gateway/observe"
	"github.com/headgate/headgate/policies"
)

// fullRecord has a value in each field.
func fullRecord() *observe.Record {
	return &observe.Record{
		Time: time.Date(2026, 1, 2, 15, 4, 5, 0, time.UTC), ID: "i", ClientIP: "192.0.2.1", Method: "GET", Host: "h", URI: "/x?a=1&token=hush", Proto: "HTTP/1.1",
		Status: 200, Bytes: 7, Duration: time.Second, Route: "r", Upstream: "http://a:1", Denied: netip.MustParsePrefix("192.0.2.0/24"), Limit: "l", DryRun: "d",
		Waited: time.Second, Cache: "hit", Encoding: "br", BytesBefore: 9, Queue: "q", Job: "j", Attempt: 2, Client: "c", User: "42", Session: "s", Plan: "p", Login: true, UserAgent: `a "b"`, Referer: "https://r/?token=hush", Error: "e",
	}
}

func fields(t *testing.T, f *observe.LogFormat, e *observe.Record) map[string]any {
	t.Helper()
	var m map[string]any
	if line := f.Append(nil, e); json.Unmarshal(line, &m) != nil {
		t.Fatalf("no JSON: %s", line)
	}
	return m
}

func TestEachFieldButTheNumbersCanBeDropped(t *testing.T) {
	t.Parallel()
	all := slices.Collect(maps.Keys(fields(t, observe.NewLogFormat(observe.LogOptions{}), fullRecord())))
	kept := slices.Sorted(maps.Keys(fields(t, observe.NewLogFormat(observe.LogOptions{Drop: observe.Droppable()}), fullRecord())))
	if want := []string{"bytes", "duration_ms", "status", "time"}; !slices.Equal(kept, want) {
		t.Errorf("kept %v, want %v", kept, want)
	}
	for _, field := range observe.Droppable() {
		e := fullRecord()
		got := fields(t, observe.NewLogFormat(observe.LogOptions{Drop: []string{field}}), e)
		if _, there := got[field]; there || !slices.Contains(all, field) {
			t.Errorf("%s is still there, or never was: %v", field, got)
		}
		if !reflect.DeepEqual(e, fullRecord()) {
			t.Errorf("dropping %s changes the record that others see", field)
		}
	}
	named := policies.AccessLogField("").Values()
	if slices.Sort(named); !slices.Equal(named, observe.Droppable()) {
		t.Errorf("policies know %v, the log %v", named, observe.Droppable())
	}
}

func TestAddedFieldsAreHeadersAndTheTrace(t *testing.T) {
	t.Parallel()
	f := observe.NewLogFormat(observe.LogOptions{Mask: []string{"token"}, Add: []string{"header:x-Tenant", "header:X-Original-URL", "header:X-Absent", "trace_id", "span_id"}})
	h := http.Header{"X-Tenant": {"a", "b"}, "X-Original-Url": {"/y?token=hush"}, "Traceparent": {"00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01"}}
	e := fullRecord()
	f.Collect(e, h)
	got := fields(t, f, e)
	for name, want := range map[string]any{
		"header_x_tenant": "a, b", "header_x_original_url": "/y?token=***", "header_x_absent": nil,
		"trace_id": "0af7651916cd43dd8448eb211c80319c", "span_id": "b7ad6b7169203331",
	} {
		if got[name] != want {
			t.Errorf("%s is %v, want %v", name, got[name], want)
		}
	}
	for _, wrong := range []string{
		"", "00-0AF7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01", "ff-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01",
		"00-00000000000000000000000000000000-b7ad6b7169203331-01", "00-0af7651916cd43dd8448eb211c80319c-b7ad6b716920333-01", "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01-x",
	} {
		e := fullRecord()
		f.Collect(e, http.Header{"Traceparent": {wrong}})
		if got := fields(t, f, e); got["trace_id"] != nil || got["span_id"] != nil {
			t.Errorf("%q is taken for a trace: %v", wrong, got)
		}
	}
}

// combined is the grammar of the format: NCSA's common log format with Referer and User-Agent, as Apache documents it for
// "%h %l %u %t \"%r\" %>s %b \"%{Referer}i\" \"%{User-Agent}i\"".
var combined = regexp.MustCompile(`^(\S+) (\S+) (\S+) \[(\d\d/[A-Z][a-z]{2}/\d{4}:\d\d:\d\d:\d\d [+-]\d{4})\] "((?:[^"\\]|\\.)*)" (\d{3}) (\d+|-) "((?:[^"\\]|\\.)*)" "((?:[^"\\]|\\.)*)"\n$`)

func TestCombinedKeepsToItsGrammar(t *testing.T) {
	t.Parallel()
	f := observe.NewLogFormat(observe.LogOptions{Combined: true, Mask: []string{"token"}})
	line := string(f.Append(nil, fullRecord()))
	if want := `192.0.2.1 - 42 [02/Jan/2026:15:04:05 +0000] "GET /x?a=1&token=*** HTTP/1.1" 200 7 "https://r/?token=***" "a \x22b\x22"` + "\n"; line != want {
		t.Errorf("got\n%swant\n%s", line, want)
	}
	odd := fullRecord()
	odd.User, odd.UserAgent, odd.Referer = "a] \"[b\nc", "\xff\\\"\n é", strings.Repeat("x", 9000)
	for _, e := range []*observe.Record{fullRecord(), odd, {Status: 400}} {
		if line := string(f.Append(nil, e)); !combined.MatchString(line) {
			t.Errorf("no line of combined: %q", line)
		}
	}
	bare := string(observe.NewLogFormat(observe.LogOptions{Combined: true, Drop: observe.Droppable()}).Append(nil, fullRecord()))
	if want := `- - - [02/Jan/2026:15:04:05 +0000] "-" 200 7 "-" "-"` + "\n"; bare != want {
		t.Errorf("with all dropped: %s", bare)
	}
}

// deploy/lnav/headgate.json describes the same fields as the log has.
func TestLnavKnowsEachField(t *testing.T) {
	t.Parallel()
	text, err := os.ReadFile("../../deploy/lnav/headgate.json")
	if err != nil {
		t.Fatal(err)
	}
	var file map[string]json.RawMessage
	if err := json.Unmarshal(text, &file); err != nil {
		t.Fatal(err)
	}
	var format struct {
		JSON      bool   `json:"json"`
		Timestamp string `json:"timestamp-field"`
		Value     map[string]struct{ Kind string }
	}
	if err := json.Unmarshal(file["headgate_log"], &format); err != nil || !format.JSON || format.Timestamp != "time" {
		t.Fatalf("%+v, %v", format, err)
	}
	logged := fields(t, observe.NewLogFormat(observe.LogOptions{}), fullRecord())
	delete(logged, "time")  // lnav has it besides
	delete(logged, "limit") // a word of SQL: lnav could make no table; it shows the field all the same
	for name, value := range logged {
		want := map[reflect.Kind][]string{reflect.String: {"string"}, reflect.Float64: {"integer", "float"}, reflect.Bool: {"boolean"}}[reflect.TypeOf(value).Kind()]
		if kind := format.Value[name].Kind; !slices.Contains(want, kind) {
			t.Errorf("%s is a %s in lnav, want one of %v", name, strconv.Quote(kind), want)
		}
	}
	for name := range format.Value {
		if _, there := logged[name]; !there {
			t.Errorf("lnav knows a field %s that the log has not", name)
		}
	}
}

func TestLnavReadsTheLog(t *testing.T) {
	t.Parallel()
	lnav, err := exec.LookPath("lnav")
	if err != nil {
		t.Skip("lnav is not installed")
	}
	format, err := os.ReadFile("../../deploy/lnav/headgate.json")
	if err != nil {
		t.Fatal(err)
	}
	home := t.TempDir()
	folder := filepath.Join(home, ".lnav", "formats", "headgate")
	log := filepath.Join(home, "access.log")
	line := observe.NewLogFormat(observe.LogOptions{}).Append(nil, fullRecord())
	for _, err := range []error{os.MkdirAll(folder, 0o700), os.WriteFile(filepath.Join(folder, "headgate.json"), format, 0o600), os.WriteFile(log, line, 0o600)} {
		if err != nil {
			t.Fatal(err)
		}
	}
	cmd := exec.Command(lnav, "-n", "-c", ";select client_ip, status, log_level, login, duration_ms from headgate_log", "-c", ":write-csv-to -", log)
	cmd.Env = append(os.Environ(), "HOME="+home, "XDG_CONFIG_HOME=")
	if out, err := cmd.CombinedOutput(); err != nil || !strings.Contains(string(out), "192.0.2.1,200,info,1,1000") {
		t.Errorf("%v\n%s", err, out)
	}
}
