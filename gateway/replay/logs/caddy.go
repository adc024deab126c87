package logs

import (
	"errors"
	"time"
)

// Caddy is Caddy's access log in JSON.
const Caddy Format = "caddy"

// parseCaddy reads Caddy's access log in JSON. Its time is that at which the
// response was complete; the duration is subtracted.
func parseCaddy(line []byte, r *Record, in *interner) error {
	hasTime, hasStatus := false, false
	var request value
	var took time.Duration
	err := eachField(line, func(key []byte, v value) (err error) {
		switch string(key) {
		case "ts":
			hasTime = true
			r.At, err = parseAnyTime(v)
		case "request":
			request = v
		case "status":
			hasStatus = true
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
	case !hasTime || !hasStatus || request.kind != kindObject:
		return errors.New("no line of an access log of Caddy: ts, status or request is missing")
	}
	r.HasAgent = true
	err = eachField(request.raw, func(key []byte, v value) (err error) {
		switch string(key) {
		case "client_ip": // behind the proxies that Caddy trusts
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
	r.arrivedBefore(took)
	return nil
}
