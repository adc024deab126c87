package logs_test

import (
	"bytes"
	"encoding/json"
	"os"
	"strings"
	"testing"
	"time"
	"unicode/utf8"

	"github.com/headgate/headgate/gateway/replay/logs"
)

// checkLine parses a line, which must neither panic nor break what the package promises of errors and records.
func checkLine(t *testing.T, format logs.Format, line []byte) {
	r, err := logs.ParseLine(format, line)
	if err != nil {
		if !utf8.ValidString(err.Error()) || strings.ContainsAny(err.Error(), "\x1b\n\r\x00") {
			t.Errorf("the error is not fit to be shown: %q", err.Error())
		}
		return
	}
	switch {
	case r.At < 0 || r.At > logs.MaxMicros:
		t.Errorf("time %d", r.At)
	case r.Took < 0 || r.Took > 32*24*time.Hour:
		t.Errorf("duration %v", r.Took)
	case r.Status < 0 || r.Status > 999:
		t.Errorf("status %d", r.Status)
	case r.Addr.Is4In6() || r.Addr.Zone() != "":
		t.Errorf("address %v", r.Addr)
	}
}

// FuzzFormats reads each line as every format of the table. The known logs are its seeds.
func FuzzFormats(f *testing.F) {
	for _, file := range knownLogs(f) {
		content, err := os.ReadFile(file)
		if err != nil {
			f.Fatal(err)
		}
		for line := range bytes.Lines(content) {
			f.Add(bytes.TrimSpace(line))
		}
	}
	f.Fuzz(func(t *testing.T, line []byte) {
		for _, format := range logs.Formats()[1:] {
			checkLine(t, format, line)
		}
	})
}

func fuzzParser(f *testing.F, format logs.Format, seeds ...string) {
	for _, s := range seeds {
		f.Add([]byte(s))
	}
	f.Fuzz(func(t *testing.T, line []byte) { checkLine(t, format, line) })
}

func FuzzCombined(f *testing.F) {
	fuzzParser(f, logs.Combined,
		`192.0.2.1 - - [02/Jan/2026:10:00:00 +0000] "GET /x HTTP/1.1" 200 12 "-" "curl/8.5.0"`,
		`shop.example:443 ::ffff:192.0.2.1 - - [02/Jan/2026:10:00:00 +0000] "\x16\x03" 400 - "a\"b" "c\\"`,
		`2001:db8::7%eth0 - - [02/Jan/2026:10:00:00 +0000] "GET /x HTTP/1.1" 200 12 "-" "a" 3 "r" "http://b" 12ms`)
}

func FuzzHeadgate(f *testing.F) {
	fuzzParser(f, logs.Headgate, `{"time":"2026-01-02T10:00:00.500Z","client_ip":"192.0.2.1","method":"GET","host":"a","uri":"/","status":200,"bytes":1,"duration_ms":1,"login":true}`)
}

func FuzzNginx(f *testing.F) {
	fuzzParser(f, logs.Nginx,
		`{"msec":"1767348000.750","remote_addr":"192.0.2.1","request":"GET / HTTP/1.1","status":"200","request_time":"0.1"}`,
		`{"time_local":"02/Jan/2026:10:00:00 +0000","remote_addr":"192.0.2.1","request_method":"GET","uri":"/","args":"a","status":200}`)
}

func FuzzCaddy(f *testing.F) {
	fuzzParser(f, logs.Caddy, `{"ts":1767348000.75,"request":{"client_ip":"192.0.2.1","method":"GET","host":"a","uri":"/","headers":{"User-Agent":["x"]}},"duration":"1h","size":1,"status":200}`)
}

func FuzzTraefik(f *testing.F) {
	fuzzParser(f, logs.Traefik, `{"ClientHost":"192.0.2.1","DownstreamStatus":200,"Duration":1,"RequestMethod":"GET","RequestPath":"/","StartUTC":"2026-01-02T10:00:00Z"}`)
}

// FuzzJSONIsReadAsEncodingJSONDoes holds the scanner to the standard library's
// reading, wherever that calls a line valid.
func FuzzJSONIsReadAsEncodingJSONDoes(f *testing.F) {
	f.Add([]byte(`{"a":"x\u00e9\ud83d\ude00\n","b":[1,{"c":"]"}],"d":null,"e":-1.5e3,"":{}}`))
	f.Fuzz(func(t *testing.T, line []byte) {
		var want map[string]any
		if !utf8.Valid(line) || json.Unmarshal(line, &want) != nil || want == nil {
			_, _, _ = logs.Fields(line) // it must not panic
			return
		}
		keys, texts, err := logs.Fields(line)
		if err != nil {
			t.Fatalf("%v: %s", err, line)
		}
		for _, k := range keys {
			if _, ok := want[k]; !ok {
				t.Errorf("key %q is not in %s", k, line)
			}
		}
		for k, v := range want {
			if s, ok := v.(string); ok && texts[k] != s {
				t.Errorf("%q is %q, want %q", k, texts[k], s)
			}
		}
	})
}
