package logs

import (
	"errors"
	"time"
)

// Nginx is JSON that an nginx log_format wrote.
const Nginx Format = "nginx"

// parseNginx reads JSON that an nginx log_format wrote: nginx has no JSON format of its own, so
// each field goes by the names that operators commonly give it. Its time is that at which the response was
// complete; request_time, where the line has it, is subtracted.
func parseNginx(line []byte, r *Record, in *interner) error {
	hasTime, hasStatus := false, false
	var request, method, uri, path, query, host, server []byte
	var took time.Duration
	err := eachField(line, func(key []byte, v value) (err error) {
		switch string(key) {
		case "msec", "time_iso8601", "time_local", "@timestamp", "timestamp", "time", "ts":
			if len(v.bytes()) > 0 && (!hasTime || string(key) == "msec") { // msec is the most precise
				hasTime = true
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
			hasStatus = true
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
	case !hasTime:
		return errors.New("no time: expected msec, time_iso8601, time_local or timestamp")
	case !r.Addr.IsValid():
		return errors.New("no client address: expected remote_addr")
	case !hasStatus:
		return errors.New("no status")
	case request != nil && (len(method) == 0 || uri == nil):
		r.setRequestLine(request, in)
	case uri != nil || path != nil:
		// $request_uri is what the client sent; $uri is the path after nginx has normalised it, without the query.
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
	r.arrivedBefore(took)
	return nil
}
