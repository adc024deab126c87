package replay

import (
	"errors"
	"fmt"
	"math"
	"strconv"
	"time"
)

// parseHeadgate reads our own access log; gateway/server/accesslog.go says what
// stands in it. Its time is that at which the request came.
func parseHeadgate(line []byte, r *record, in *interner) error {
	own := &ownFields{}
	timed, status, known := false, false, false
	err := eachField(line, func(key []byte, v value) (err error) {
		switch string(key) {
		case "time":
			timed = true
			r.At, err = parseRFC3339(v.bytes())
		case "client_ip":
			r.Addr, err = parseAddr(v.bytes())
		case "method":
			r.Method = in.of(v.bytes())
		case "host":
			r.Host = in.of(v.bytes())
		case "uri":
			r.URI = string(v.bytes())
		case "status":
			status = true
			r.Status, err = parseStatus(v.bytes())
		case "bytes":
			r.setBytes(v.bytes())
		case "duration_ms":
			known = true
			r.Took, err = parseMillis(v.bytes())
		case "route":
			own.Route = in.of(v.bytes())
		case "limit":
			own.Limit = in.of(v.bytes())
		case "client":
			own.Client = in.of(v.bytes())
		case "user":
			own.User = in.of(v.bytes())
		case "session":
			own.Session = in.of(v.bytes())
		case "upstream":
			own.Answered = true
		case "login":
			own.LoggedIn = string(v.bytes()) == "true"
		case "error":
			own.Failed = true
		case "user_agent":
			r.Agent = in.of(v.bytes())
		case "referer":
			r.Referer = in.of(v.bytes())
		}
		return err
	})
	switch {
	case err != nil:
		return err
	case !timed || !status || !known:
		return errors.New("no line of our access log: time, status or duration_ms is missing")
	}
	r.HasAgent = true
	r.Own = own
	return nil
}

// parseNginx reads JSON that an nginx log_format wrote: nginx has no JSON format of its own, so
// each thing goes by the names that people give it. Its time is that at which the answer was
// complete; request_time, where it is there, leads back to when the request came.
func parseNginx(line []byte, r *record, in *interner) error {
	timed, status := false, false
	var request, method, uri, path, query, host, server []byte
	var took time.Duration
	err := eachField(line, func(key []byte, v value) (err error) {
		switch string(key) {
		case "msec", "time_iso8601", "time_local", "@timestamp", "timestamp", "time", "ts":
			if len(v.bytes()) > 0 && (!timed || string(key) == "msec") { // msec is the most precise
				timed = true
				r.At, err = parseAnyTime(v)
			}
		case "remote_addr", "client_ip", "clientip", "remote_ip", "client":
			if !r.Addr.IsValid() {
				r.Addr, err = parseAddr(v.bytes())
			}
		case "request":
			request = v.bytes()
		case "request_method", "method", "verb":
			method = v.bytes()
		case "request_uri", "uri_path", "url":
			uri = v.bytes()
		case "uri", "path":
			path = v.bytes()
		case "args", "query_string", "query":
			query = noDash(v.bytes())
		case "http_host", "host":
			host = v.bytes()
		case "server_name", "vhost":
			server = v.bytes()
		case "status", "status_code", "response":
			status = true
			r.Status, err = parseStatus(v.bytes())
		case "body_bytes_sent", "bytes_sent", "bytes", "size":
			r.setBytes(v.bytes())
		case "request_time", "duration":
			if b := noDash(v.bytes()); len(b) > 0 {
				took, err = parseSeconds(b)
			}
		case "http_user_agent", "user_agent", "agent":
			r.Agent, r.HasAgent = in.of(noDash(v.bytes())), true
		case "http_referer", "http_referrer", "referer", "referrer":
			r.Referer = in.of(noDash(v.bytes()))
		}
		return err
	})
	switch {
	case err != nil:
		return err
	case !timed:
		return errors.New("no time: expected msec, time_iso8601, time_local or timestamp")
	case !r.Addr.IsValid():
		return errors.New("no client address: expected remote_addr")
	case !status:
		return errors.New("no status")
	case request != nil && (len(method) == 0 || uri == nil):
		r.setRequestLine(request, in)
	case uri != nil || path != nil:
		// $uri is what nginx made of the path, without the query; $request_uri is better.
		r.Method, r.URI = in.of(method), string(uri)
		if uri == nil {
			r.URI = string(path)
			if len(query) > 0 {
				r.URI += "?" + string(query)
			}
		}
	default:
		return errors.New("no request: expected request, or request_method and request_uri")
	}
	if host == nil {
		host = server
	}
	if host = noDash(host); string(host) != "_" {
		r.Host = in.of(host)
	}
	r.came(took)
	return nil
}

// parseCaddy reads Caddy's access log in JSON. Its time is that at which the
// answer was complete.
func parseCaddy(line []byte, r *record, in *interner) error {
	timed, status := false, false
	var request value
	var took time.Duration
	err := eachField(line, func(key []byte, v value) (err error) {
		switch string(key) {
		case "ts":
			timed = true
			r.At, err = parseAnyTime(v)
		case "request":
			request = v
		case "status":
			status = true
			r.Status, err = parseStatus(v.bytes())
		case "size":
			r.setBytes(v.bytes())
		case "duration":
			if v.kind == kindNumber {
				took, err = parseSeconds(v.raw)
			} else if took, err = time.ParseDuration(string(v.bytes())); took < 0 {
				took = 0
			}
		}
		return err
	})
	switch {
	case err != nil:
		return err
	case !timed || !status || request.kind != kindObject:
		return errors.New("no line of an access log of Caddy: ts, status or request is missing")
	}
	r.HasAgent = true
	err = eachField(request.raw, func(key []byte, v value) (err error) {
		switch string(key) {
		case "client_ip": // as the trusted proxies tell it
			r.Addr, err = parseAddr(v.bytes())
		case "remote_ip", "remote_addr":
			if !r.Addr.IsValid() {
				r.Addr, err = parseAddr(v.bytes())
			}
		case "method":
			r.Method = in.of(v.bytes())
		case "host":
			r.Host = in.of(v.bytes())
		case "uri":
			r.URI = string(v.bytes())
		case "headers":
			if v.kind == kindObject {
				err = eachField(v.raw, func(key []byte, v value) error {
					switch string(key) {
					case "User-Agent":
						r.Agent = in.of(v.first().bytes())
					case "Referer":
						r.Referer = in.of(v.first().bytes())
					}
					return nil
				})
			}
		}
		return err
	})
	if err != nil {
		return err
	}
	if !r.Addr.IsValid() || r.URI == "" {
		return errors.New("no client_ip or uri in request")
	}
	r.came(took)
	return nil
}

// parseTraefik reads Traefik's access log in JSON.
func parseTraefik(line []byte, r *record, in *interner) error {
	status, started := false, false
	err := eachField(line, func(key []byte, v value) (err error) {
		switch string(key) {
		case "StartUTC", "StartLocal":
			if !started {
				started = true
				r.At, err = parseRFC3339(v.bytes())
			}
		case "ClientHost":
			r.Addr, err = parseAddr(v.bytes())
		case "ClientAddr":
			if !r.Addr.IsValid() {
				r.Addr, err = parseAddr(v.bytes())
			}
		case "RequestMethod":
			r.Method = in.of(v.bytes())
		case "RequestHost":
			r.Host = in.of(noDash(v.bytes()))
		case "RequestPath": // with the query
			r.URI = string(v.bytes())
		case "DownstreamStatus":
			status = true
			r.Status, err = parseStatus(v.bytes())
		case "DownstreamContentSize":
			r.setBytes(v.bytes())
		case "Duration":
			var ms float64
			if ms, err = strconv.ParseFloat(string(v.bytes()), 64); err == nil { // nanoseconds
				r.Took = durationMillis(ms / 1e6)
			}
		case "request_User-Agent":
			r.Agent, r.HasAgent = in.of(v.bytes()), true
		case "request_Referer":
			r.Referer = in.of(v.bytes())
		}
		return err
	})
	switch {
	case err != nil:
		return err
	case !started || !status || !r.Addr.IsValid() || r.Method == "":
		return errors.New("no line of Traefik's access log: StartUTC, DownstreamStatus, ClientHost or RequestMethod is missing")
	}
	return nil
}

// came turns the time at which the answer was complete into that at which
// the request came.
func (r *record) came(took time.Duration) {
	r.Took = took
	r.At = max(0, r.At-took.Microseconds())
}

func parseMillis(b []byte) (time.Duration, error) {
	ms, err := strconv.ParseFloat(string(b), 64)
	if err != nil || math.IsNaN(ms) {
		return 0, fmt.Errorf("a duration that is no number of milliseconds: %s", clip(b))
	}
	return durationMillis(ms), nil
}

// durationMillis is a time span in milliseconds, from nothing to a month.
func durationMillis(ms float64) time.Duration {
	const month = 31 * 24 * float64(time.Hour)
	return time.Duration(min(max(ms*float64(time.Millisecond), 0), month))
}
