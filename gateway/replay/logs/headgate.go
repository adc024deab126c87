package logs

import "errors"

// Headgate is the gateway's own access log.
const Headgate Format = "headgate"

// parseHeadgate reads a line that gateway/observe wrote; record.go there has its fields. Its time is that at
// which the request arrived.
func parseHeadgate(line []byte, r *Record, in *interner) error {
	own := &Own{}
	hasTime, hasStatus, hasDuration := false, false, false
	err := eachField(line, func(key []byte, v value) (err error) {
		switch string(key) {
		case "time":
			hasTime = true
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
			hasStatus = true
			r.Status, err = parseStatus(v.bytes())
		case "bytes":
			r.setBytes(v.bytes())
		case "duration_ms":
			hasDuration = true
			r.Took, err = parseMillis(v.bytes())
		case "route":
			own.Route = in.of(v.bytes())
		case "denied_network":
			own.DeniedNetwork = true
		case "limit":
			own.Limit = in.of(v.bytes())
		case "client":
			own.Client = in.of(v.bytes())
		case "user":
			own.User = in.of(v.bytes())
		case "session":
			own.Session = in.of(v.bytes())
		case "plan":
			own.Plan = in.of(v.bytes())
		case "attempt":
			own.Attempt = true
		case "upstream":
			own.AnsweredByApp = true
		case "login":
			own.LoggedIn = string(v.bytes()) == "true"
		case "error":
			own.GatewayError = true
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
	case !hasTime || !hasStatus || !hasDuration:
		return errors.New("no line of our access log: time, status or duration_ms is missing")
	}
	r.HasAgent = true
	r.Own = own
	return nil
}
