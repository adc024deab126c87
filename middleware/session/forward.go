package session

import (
	"cmp"
	"log/slog"
	"net/http"
)

// maxHeaderData is the most that [HeaderSession] carries, in bytes before they are escaped.
const maxHeaderData = 4 << 10

// ForwardHeaders prepares the request's headers for the app server, after
// Authorize: it removes what a client sent under reserved names and our cookie,
// and announces a live session, signed where the route has a Signer. A session
// always has a Headgate-Session header, {} at least, unless its data is larger
// than 4 KiB, which Settings.MaxData may allow: then that one header is left
// out and a warning is logged.
//
// It may be called again, for another attempt.
func (rs *RequestSession) ForwardHeaders(h http.Header) {
	StripReserved(h)
	if _, ok := h["Cookie"]; ok {
		rs.m.CutCookie(h)
	}
	s := rs.session
	if s == nil {
		return
	}
	rs.shown.Store(true)
	if s.User != "" {
		h.Set(HeaderUser, s.record.userAsSent())
	}
	if data := s.Data(); lenBeforeEscaping(data) <= maxHeaderData {
		h.Set(HeaderSession, string(data))
	} else {
		rs.m.lines.tooLarge.Log(rs.request.Context(), rs.m.log, slog.LevelWarn, "session data left out of the request: above 4 KiB", "ref", s.Ref, "bytes", len(data))
	}
	h.Set(HeaderRef, s.Ref)
	signer, audience := rs.assertion()
	if signer == nil {
		return
	}
	assertion, err := signer.Sign(s, audience)
	if err != nil { // the claims are strings and numbers, which always encode
		rs.m.lines.notSigned.Log(rs.request.Context(), rs.m.log, slog.LevelError, "session not signed for the app server", "ref", s.Ref, "error", err)
		return
	}
	h.Set(HeaderAssertion, assertion)
}

// assertion returns what signs the session on this route, nil for nothing, and for whom.
func (rs *RequestSession) assertion() (signer *Signer, audience string) {
	if rs.route.Signer != nil {
		return rs.route.Signer, rs.route.Audience
	}
	return rs.m.signer, cmp.Or(rs.m.set.Assertion.Audience, rs.route.Audience)
}
