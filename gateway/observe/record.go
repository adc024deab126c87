package observe

import (
	"net/netip"
	"strconv"
	"time"
	"unicode/utf8"
)

// Record is what the gateway knows of one request when its response is complete.
// Access log, metrics and policy tests are made of it. The access log's names stand
// beside the fields; README's table of them and `headgate replay` go by these names.
type Record struct {
	Time      time.Time     // time: when the request came, RFC 3339 in UTC with microseconds
	ID        string        // id: the X-Request-Id
	ClientIP  string        // client_ip: as the trusted proxies tell it
	Method    string        // method
	Host      string        // host: lower case, with a port that is not the default
	URI       string        // uri: path and query as they came
	Proto     string        // proto
	Status    int           // status; 499 where the client left before there was an answer; the status that a gRPC error of the gateway's own stands for
	Bytes     int64         // bytes: of the response's body, as it was sent
	Duration  time.Duration // duration_ms: until the response was complete
	Route     string        // route: its name; left out where none fitted
	Upstream  string        // upstream: the server that answered
	Denied    netip.Prefix  // denied_network: the network that refuses the client, of server.deny or of a block
	Limit     string        // limit: the limit that denied it
	DryRun    string        // dry_run: the limit that would have denied it
	Waited    time.Duration // limit_wait_ms: for the answers to other requests, by which a limit counts; left out where it has not
	Cache     string        // cache: hit, miss, stale, ...
	Encoding  string        // encoding: br, zstd or gzip, where the gateway has compressed the body; else left out
	Client    string        // client: whose API key it carried
	User      string        // user: whose session it carried
	Session   string        // session: its opaque reference
	Plan      string        // plan: the one that the app has put that session on
	Login     bool          // login: true where the app logged its user in; else left out
	Queue     string        // queue: of the job
	Job       string        // job: the ID of the job that the request has become, that it asks for, or that this is an attempt at
	Attempt   int           // attempt: of a job, from 1; such a line is about a request of the gateway's own
	UserAgent string        // user_agent
	Referer   string        // referer
	Error     string        // error: why the gateway answered itself

	BytesBefore int64 // bytes_before: of the body before it was compressed; left out where it was not

	Added []string // what the access log has besides, by the order of its format's fields

	// SessionNeeded: the request was refused, or sent to the login page, because it carried no live session. It is not logged.
	SessionNeeded bool
}

const logTime = "2006-01-02T15:04:05.000000Z07:00"

// AppendJSON appends the record as one line of the access log: a JSON object and a line feed.
func (e *Record) AppendJSON(b []byte) []byte {
	b = append(b, `{"time":"`...)
	b = e.Time.UTC().AppendFormat(b, logTime)
	b = append(b, '"')
	b = appendField(b, "id", e.ID)
	b = appendField(b, "client_ip", e.ClientIP)
	b = appendField(b, "method", e.Method)
	b = appendField(b, "host", e.Host)
	b = appendField(b, "uri", e.URI)
	b = appendField(b, "proto", e.Proto)
	b = append(b, `,"status":`...)
	b = strconv.AppendInt(b, int64(e.Status), 10)
	b = append(b, `,"bytes":`...)
	b = strconv.AppendInt(b, e.Bytes, 10)
	b = append(b, `,"duration_ms":`...)
	b = strconv.AppendFloat(b, float64(e.Duration.Microseconds())/1000, 'f', -1, 64)
	b = appendField(b, "route", e.Route)
	b = appendField(b, "upstream", e.Upstream)
	if e.Denied.IsValid() {
		b = append(b, `,"denied_network":"`...)
		b = append(e.Denied.AppendTo(b), '"')
	}
	b = appendField(b, "limit", e.Limit)
	b = appendField(b, "dry_run", e.DryRun)
	if e.Waited > 0 {
		b = append(b, `,"limit_wait_ms":`...)
		b = strconv.AppendFloat(b, float64(e.Waited.Microseconds())/1000, 'f', -1, 64)
	}
	b = appendField(b, "cache", e.Cache)
	if e.Encoding != "" {
		b = appendField(b, "encoding", e.Encoding)
		b = append(b, `,"bytes_before":`...)
		b = strconv.AppendInt(b, e.BytesBefore, 10)
	}
	b = appendField(b, "client", e.Client)
	b = appendField(b, "user", e.User)
	b = appendField(b, "session", e.Session)
	b = appendField(b, "plan", e.Plan)
	if e.Login {
		b = append(b, `,"login":true`...)
	}
	b = appendField(b, "queue", e.Queue)
	b = appendField(b, "job", e.Job)
	if e.Attempt > 0 {
		b = append(b, `,"attempt":`...)
		b = strconv.AppendInt(b, int64(e.Attempt), 10)
	}
	b = appendField(b, "user_agent", e.UserAgent)
	b = appendField(b, "referer", e.Referer)
	b = appendField(b, "error", e.Error)
	return append(b, '}', '\n')
}

// maxLogField bounds what one request can write into the log.
const maxLogField = 4096

// appendField appends a string field, or nothing where the value is empty.
func appendField(b []byte, name, value string) []byte {
	if value == "" {
		return b
	}
	if len(value) > maxLogField {
		value = value[:maxLogField]
	}
	b = append(b, ',', '"')
	b = append(b, name...)
	b = append(b, '"', ':', '"')
	for i := 0; i < len(value); {
		c := value[i]
		switch {
		case c == '"' || c == '\\':
			b = append(b, '\\', c)
			i++
		case c < 0x20 || c == 0x7f:
			const hex = "0123456789abcdef"
			b = append(b, '\\', 'u', '0', '0', hex[c>>4], hex[c&15])
			i++
		case c < utf8.RuneSelf:
			b = append(b, c)
			i++
		default:
			r, size := utf8.DecodeRuneInString(value[i:])
			if r == utf8.RuneError && size == 1 {
				b = append(b, `\ufffd`...)
			} else {
				b = append(b, value[i:i+size]...)
			}
			i += size
		}
	}
	return append(b, '"')
}
