package proxy

import "net/http"

// StripForwarding removes the fields of [IsForwarding].
func StripForwarding(h http.Header) {
	for name := range h {
		if IsForwarding(name) {
			delete(h, name)
		}
	}
}

// IsForwarding reports whether a client could make a server see another client address, host, URL, scheme or method by a
// field than the gateway saw. Such fields never reach a server: no cache key has them, so the response to one client that
// sends them would be served to all. They are recognised in any spelling that a server might read as one of them (CGI maps
// X_Forwarded_For and X-Forwarded-For to the same variable).
//
// What a CDN says under its own name (CF-Connecting-IP, CloudFront-Forwarded-Proto) is not among them: an operator may have
// one in front, and servers that rely on it.
func IsForwarding(name string) bool {
	if name == "" {
		return false
	}
	switch name[0] | 0x20 { // most fields are none of these, by their first letter
	case 'b', 'f', 'h', 'p', 'x':
	default:
		return false
	}
	if hasFoldedPrefix(name, "x-forwarded") || hasFoldedPrefix(name, "x-http-method") {
		return true
	}
	var folded [len("x-http-host-override")]byte
	if len(name) > len(folded) {
		return false
	}
	for i := range len(name) {
		folded[i] = fold(name[i])
	}
	return overrides(folded[:len(name)])
}

// overrides reports whether a folded name is of a field that some framework, library or server reads in place of what the
// connection, the request line or Host says.
func overrides(folded []byte) bool {
	switch string(folded) {
	case "forwarded", "forwarded-for", "forwarded-host", "forwarded-proto", "x-forward-for", "x-forward-host", "x-forward-proto":
	case "x-real-ip", "x-original-for":
	case "x-host", "x-http-host-override", "x-original-host", "x-backend-host":
	case "base-url", "x-proxy-url", "x-original-url", "x-original-uri", "x-rewrite-url", "x-script-name", "x-original-prefix":
	case "x-url-scheme", "x-scheme", "x-original-scheme", "x-original-proto", "front-end-https", "https", "x-https":
	case "x-method-override", "x-original-method":
	case "x-sendfile-type", "x-accel-mapping": // by which Rack::Sendfile answers with a file's name in place of the file
	case "proxy": // HTTP_PROXY, through which CGI programs make requests of their own (httpoxy)
	default:
		return false
	}
	return true
}

// hasFoldedPrefix reports whether the name, folded, begins with prefix.
func hasFoldedPrefix(name, prefix string) bool {
	if len(name) < len(prefix) {
		return false
	}
	for i := range len(prefix) {
		if fold(name[i]) != prefix[i] {
			return false
		}
	}
	return true
}

// fold returns a letter in lower case, and everything but letters and digits as a hyphen.
func fold(c byte) byte {
	switch {
	case 'A' <= c && c <= 'Z':
		return c | 0x20
	case 'a' <= c && c <= 'z', '0' <= c && c <= '9':
		return c
	}
	return '-'
}
