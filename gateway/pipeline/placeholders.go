package pipeline

import (
	"errors"
	"net/url"
	"strings"

	"github.com/headgate/headgate/internal/httpx"
	"github.com/headgate/headgate/policies"
)

// Placeholders in redirects, rewrites and header rules. What a client sends is escaped for its place: it adds no line to a header, no host to
// a redirect, and no segment to a path.

// value returns what a placeholder stands for: path, uri, query and param escaped as they were sent, the others as they are.
func (r *Request) value(p policies.TemplatePart) string {
	switch p.Name {
	case policies.PlaceClientIP:
		return r.Info.Addr.String()
	case policies.PlaceHost:
		return r.Host
	case policies.PlacePort:
		return r.port()
	case policies.PlaceScheme:
		return r.Scheme
	case policies.PlacePath:
		return r.Path.RawPath
	case policies.PlaceURI:
		if r.Query != "" {
			return r.Path.RawPath + "?" + r.Query
		}
		return r.Path.RawPath
	case policies.PlaceQuery:
		if p.Arg != "" {
			return queryValue(r.Query, p.Arg)
		}
		return r.Query
	case policies.PlaceParam:
		return r.Match.Param(p.Arg)
	case policies.PlaceRequestID:
		return r.id
	case policies.PlaceUser:
		if r.Session != nil {
			return identityOf(r.Session).User
		}
	}
	return ""
}

// port is the one that the client asked for.
func (r *Request) port() string {
	if port, ok := strings.CutPrefix(r.Authority, r.Host+":"); ok {
		return port
	}
	if r.Scheme == "https" {
		return "443"
	}
	return "80"
}

// queryValue returns the first value of a parameter, decoded; "" where there is none, or one that is malformed.
func queryValue(query, name string) string {
	for query != "" {
		var pair string
		pair, query, _ = strings.Cut(query, "&")
		key, value, _ := strings.Cut(pair, "=")
		if plain, err := url.QueryUnescape(key); err == nil && plain == name {
			value, _ = url.QueryUnescape(value)
			return value
		}
	}
	return ""
}

// inHeader fills in the value of a header field. Octets that have no place in one are escaped: %0A.
func (r *Request) inHeader(t policies.Template) string {
	const hex = "0123456789ABCDEF"
	var b strings.Builder
	for _, p := range t.Parts {
		if p.Name == "" {
			b.WriteString(p.Text)
			continue
		}
		for _, c := range []byte(r.value(p)) {
			if c < ' ' || c > '~' {
				b.Write([]byte{'%', hex[c>>4], hex[c&15]})
			} else {
				b.WriteByte(c)
			}
		}
	}
	return b.String()
}

// errNoHost is a redirect to the host that the client asked for, which HTTP/1.0 does not need.
var errNoHost = errors.New("the request has no Host")

// inURL fills in the URL of a redirect. A local path stays one on this site: //host is another's.
func (r *Request) inURL(t policies.Template) (string, error) {
	var b strings.Builder
	inQuery := false
	for i, p := range t.Parts {
		switch value := r.value(p); {
		case p.Name == "":
			b.WriteString(r.Match.Expand(p.Text))
			inQuery = inQuery || strings.ContainsAny(p.Text, "?#")
		case p.Name == policies.PlaceHost && value == "":
			return "", errNoHost
		case inQuery && p.Name == policies.PlaceParam:
			plain, _ := url.PathUnescape(value)
			b.WriteString(url.QueryEscape(plain))
		case inQuery && (p.Name != policies.PlaceQuery || p.Arg != ""):
			b.WriteString(url.QueryEscape(value))
		case inQuery, p.Name == policies.PlaceScheme && i == 0, p.Name == policies.PlaceHost, p.Name == policies.PlacePort, p.Name == policies.PlacePath, p.Name == policies.PlaceURI, p.Name == policies.PlaceParam:
			b.WriteString(value)
		default:
			b.WriteString(url.PathEscape(value))
		}
	}
	to := b.String()
	if strings.HasPrefix(to, "/") {
		to = "/" + strings.TrimLeft(to, "/\\")
	}
	return to, nil
}

// errNoSegment is a value that can't be a segment of a path, or part of one: it is empty, dots, or has a slash.
var errNoSegment = errors.New("what the request says is no segment of a path")

// inPath fills in the path of a rewrite.
func (r *Request) inPath(t policies.Template) (string, error) {
	var b strings.Builder
	for _, p := range t.Parts {
		switch value := r.value(p); {
		case p.Name == "":
			b.WriteString(r.Match.Expand(p.Text))
		case p.Name == policies.PlacePath || p.Name == policies.PlaceParam:
			b.WriteString(value)
		case strings.Trim(value, ".") == "" || strings.ContainsAny(value, "/\\;\x00"):
			return "", errNoSegment
		default:
			b.WriteString(url.PathEscape(value))
		}
	}
	return b.String(), nil
}

// forwardedPath returns the escaped path that the app gets, in its normal form.
func (r *Request) forwardedPath() (httpx.NormalPath, error) {
	p, forwarded := r.Route.Policy, r.Path.RawPath
	switch {
	case p.StripPrefix != "":
		forwarded, _ = r.Match.StripPrefix(p.StripPrefix)
	case p.Rewrite != "":
		var err error
		if forwarded, err = r.inPath(r.Route.rewriteTo); err != nil {
			return httpx.NormalPath{}, err
		}
	}
	if forwarded == r.Path.RawPath {
		return r.Path, nil
	}
	return httpx.NormalizePath(forwarded)
}
