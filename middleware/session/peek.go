package session

import (
	"context"
	"net/http"
)

// Peek finds the live session as Load does, and changes nothing: the session is not
// noted as seen, and an ID that arrives for the first time does not end the older ones.
// A caller that explains what would become of a request uses it in Load's place.
func (rs *RequestSession) Peek(ctx context.Context) error {
	return rs.read(ctx)
}

// Assume returns a RequestSession as if Load had found a live session of id, which has
// no data, to explain what would become of a request of that user. Nothing may be
// committed to it.
func (m *Manager) Assume(r *http.Request, route Route, id Identity) *RequestSession {
	rs := m.ForRequest(r, route)
	rs.session = &Session{Info: Info{Ref: id.Ref, User: id.User, Plan: id.Plan}, record: &record{User: id.User, Plan: id.Plan}}
	return rs
}
