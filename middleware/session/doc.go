// Package session keeps sessions that all instances share, on gorilla/sessions
// and redisstore, and makes these safe.
//
// # What a session is
//
// The cookie carries a token: a handle, which names the session for all its
// life, and a 256-bit secret, which every renewal replaces. Redis holds one
// record per session, under the handle: JSON with a version, the user, the
// data, and the SHA-256 of each token that is valid at the moment. Every change
// of it, be it a merge, a touch or a renewal, is one compare-and-swap on that
// one key. Therefore
//
//   - concurrent requests lose none of each other's changes;
//   - nothing brings back a record that a logout or a revocation has removed;
//   - old and new ID of a renewal share the data while both are valid;
//   - it all works the same in a Redis Cluster, where two keys can't change together;
//   - a dump of Redis holds nothing that opens a session.
//
// # How a request passes through
//
// A [RequestSession] is one request's session:
//
//	rs := m.ForRequest(r, route)  // reads the cookies: no I/O, junk stops here
//	rs.AddTo(batch)                // one GET on the round batch that the limits take anyway
//	rs.Load(ctx)                  // the live session, none, or ErrUnavailable
//	verdict := rs.Authorize()     // pass, 303 to the login page, 401, 403, 503
//	rs.ForwardHeaders(header)     // what the app server is told
//	...
//	a, err := ParseActions(header, route.Mode)  // what the app server asks for
//	cookie, err := rs.Commit(ctx, a)            // saved before the client is told
//	rs.CleanResponse(header)
//	m.SetCookie(header, cookie)
//
// In an Echo app, [Middleware] does that, and handlers use [Get], [Save],
// [LogIn], [Renew] and [LogOut]. A request without our cookie never asks Redis.
//
// # Renewals
//
// The ID is renewed on demand, and once it is Settings.RotateEvery old. The old
// one ends 30 seconds after the new one first came back, not after it was
// issued: an answer that was lost logs nobody out. Parallel requests that meet
// a due rotation are all given the same new ID (see [token.successor]).
//
// A login is different, because an attacker may have planted the ID that the
// victim logs in with: it begins another session, with another handle, and the
// former one stays what it was until its 30 seconds are over.
//
// # What is promised when things fail
//
//   - Redis does not answer: [ErrUnavailable], never "logged out". Required
//     routes and those that begin or end sessions answer 503; on optional ones
//     the request passes as anonymous. The cookie is left alone.
//   - A login, logout or merge that could not be saved is an error, and so is
//     a change of a session that has ended meanwhile.
//   - A touch or a rotation that could not be saved is tried again by the next request.
//   - Everything in Redis has an expiry, written by the same command as the value.
//   - Without Redis the same records live in a bounded map in this process;
//     where it is full, sessions near their end make room, and anonymous
//     ones never push out a user's.
package session
