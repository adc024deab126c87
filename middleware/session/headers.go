package session

import (
	"net/http"
	"strings"
)

// Headers of the protocol between gateway and app servers. All names that begin
// with "Headgate-" are reserved: no client sends them through, and none reaches
// a client.
const (
	HeaderUser      = "Headgate-User"        // to the app: who is logged in
	HeaderSession   = "Headgate-Session"     // to the app: the session's data, ASCII JSON
	HeaderRef       = "Headgate-Session-Ref" // to the app: the session's name, not its token
	HeaderAssertion = "Headgate-Assertion"   // to the app: the above, signed; see [Signer]

	HeaderLogin  = "Headgate-Login"         // from the app: this user is now logged in
	HeaderMerge  = "Headgate-Session-Merge" // from the app: a JSON merge patch (RFC 7396)
	HeaderRenew  = "Headgate-Session-Renew" // from the app: ?1, new ID
	HeaderLogout = "Headgate-Logout"        // from the app: session | everywhere
)

// maxHeaderData is the most that [HeaderSession] carries.
const maxHeaderData = 4 << 10

// Forward prepares the headers for the app server: what a client sent under our
// names is removed, our cookie is cut from the others, and a live session is
// announced. A session always has a Headgate-Session header, {} at least; only
// where its data is larger than 4 KiB, because Settings.MaxData allows it, is
// that header left out.
func (rs *RequestSession) ForwardHeaders(h http.Header) {
	StripReserved(h)
	rs.m.set.cut(h)
	s := rs.session
	if s == nil {
		return
	}
	if s.User != "" {
		h.Set(HeaderUser, s.User)
	}
	if data := s.Data(); len(data) <= maxHeaderData {
		h.Set(HeaderSession, string(data))
	} else {
		rs.m.log.Warn("session data left out of the request: above 4 KiB", "ref", s.Ref, "bytes", len(data))
	}
	h.Set(HeaderRef, s.Ref)
}

// CutCookie removes the session cookie, and no other, from a request's Cookie
// header.
func (m *Manager) CutCookie(h http.Header) { m.set.cut(h) }

// Reserved reports whether a header's name is one of ours in any spelling. What
// is neither letter nor digit counts as "-", because CGI, WSGI and others make
// no difference: headgate_user and HEADGATE.USER are Headgate-User to them.
func Reserved(name string) bool {
	const prefix = "headgate"
	if len(name) < len(prefix) || !strings.EqualFold(name[:len(prefix)], prefix) {
		return false
	}
	return len(name) == len(prefix) || !alphanumeric(name[len(prefix)])
}

func alphanumeric(c byte) bool {
	return '0' <= c && c <= '9' || 'a' <= c && c <= 'z' || 'A' <= c && c <= 'Z'
}

// StripReserved removes the headers that are ours, and our names from
// Connection and Trailer, which could otherwise have ours removed or announced.
// It serves requests, responses, interim (1xx) responses and trailers alike.
func StripReserved(h http.Header) {
	for name := range h {
		if Reserved(name) {
			delete(h, name)
		}
	}
	stripTokens(h, "Connection")
	stripTokens(h, "Trailer")
}

// stripTokens removes our names from a comma-separated header.
func stripTokens(h http.Header, name string) {
	lines := h[name]
	reserved := false
	for _, line := range lines {
		for token := range strings.SplitSeq(line, ",") {
			reserved = reserved || Reserved(strings.Trim(token, " \t"))
		}
	}
	if !reserved {
		return
	}
	var kept []string
	for _, line := range lines {
		for token := range strings.SplitSeq(line, ",") {
			if token = strings.Trim(token, " \t"); token != "" && !Reserved(token) {
				kept = append(kept, token)
			}
		}
	}
	if len(kept) == 0 {
		delete(h, name)
		return
	}
	h[name] = []string{strings.Join(kept, ", ")}
}
