package logs

import (
	"errors"
	"strconv"
)

// Traefik is Traefik's access log, in JSON or in its variant of combined.
const Traefik Format = "traefik"

// parseTraefik reads either form.
//
//	192.0.2.1 - - [02/Jan/2006:15:04:05 +0000] "GET /x HTTP/1.1" 200 12 "referer" "agent" 1 "router" "http://server" 12ms
func parseTraefik(line []byte, r *Record, in *interner) error {
	if len(line) > 0 && line[0] == '{' {
		return parseTraefikJSON(line, r, in)
	}
	return parseCLF(line, r, in)
}

// parseTraefikJSON reads the JSON form alone: the search for a log's format takes the other form for combined.
func parseTraefikJSON(line []byte, r *Record, in *interner) error {
	hasTime, hasStatus := false, false
	err := eachField(line, func(key []byte, v value) (err error) {
		switch string(key) {
		case "StartUTC", "StartLocal":
			if !hasTime {
				hasTime = true
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
			hasStatus = true
			r.Status, err = parseStatus(v.bytes())
		case "DownstreamContentSize":
			r.setBytes(v.bytes())
		case "Duration":
			var ns float64
			if ns, err = strconv.ParseFloat(string(v.bytes()), 64); err == nil {
				r.Took = durationMillis(ns / 1e6)
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
	case !hasTime || !hasStatus || !r.Addr.IsValid() || r.Method == "":
		return errors.New("no line of Traefik's access log: StartUTC, DownstreamStatus, ClientHost or RequestMethod is missing")
	}
	return nil
}
