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
//   - no write brings back a record that a logout or a revocation has removed;
//   - old and new ID of a renewal share the data while both are valid;
//   - it all works the same in a Redis Cluster, where two keys can't change together;
//   - a dump of Redis holds nothing that opens a session.
//
// # How a request passes
//
// A [RequestSession] is the session of one request. A gateway takes it through
// these steps, in this order; [Manager.Middleware] takes an Echo app's requests
// through the same ones:
//
//	rs := m.ForRequest(r, route)      // reads the cookies: no I/O, junk stops here
//	rs.AddTo(batch)                   // one GET on the round trip that the limits take anyway
//	rs.Load(ctx)                      // the live session, none, or ErrUnavailable
//	verdict := rs.Authorize()         // pass, 303 to the login page, 401, 403, 503
//	rs.ForwardHeaders(header)         // what the app server is told; our cookie is cut
//	...
//	a, err := rs.TakeActions(header)  // what the app server asks for
//	_, err = rs.Commit(ctx, a)        // saved before the client is told
//	rs.WriteHeaders(header)           // the cookie; no cache may store the response
//
// Where TakeActions or Commit fails, the client gets [Refuse] instead of the
// response. Where the gateway answers by itself, [RequestSession.CommitDue] takes
// the place of TakeActions and Commit. In an Echo app, handlers use [Get],
// [Save], [LogIn], [Renew], [PutOn] and [LogOut].
//
// A response that stays open, a WebSocket or a stream of events, is given to
// [RequestSession.Follow] or, in an Echo app, takes the context of [Until].
//
// The files in the order in which a request meets them: request.go, cookie.go,
// token.go, open.go, record.go, binding.go, authorize.go, csrf.go, forward.go, assertion.go,
// actions.go, commit.go, login.go, users.go, response.go, and of open streams streams.go and
// ending.go. protocol.go has the headers
// between gateway and app servers, echo.go and gorilla.go the two ways for an app
// in the same process, backend.go, redis.go, redistrip.go and memory.go where records lie.
//
// # What is promised
//
//   - A request without a well-formed cookie of ours never asks Redis; one with
//     it costs one GET, on the round trip of the limits.
//   - A login waits for two more round trips, and a change of the session for one, where no
//     other request changes it at the same moment; trips_test.go has the table. All that one
//     request writes has one time, the Redis' write_timeout.
//   - An ID that this package has not issued opens no session and becomes none
//     (session fixation). A login begins another session, with another handle.
//   - A session is valid at the host it was made at, whatever the port, or in the
//     cookie's domain. Users of one name at two hosts are two users: a logout
//     everywhere, and a login too many, end the sessions of one host alone.
//   - Of several cookies of our name, the session that replaced another counts,
//     else the later one. A logout ends all that were presented. The request waits
//     for one round trip however many there are, of which 8 KiB are looked up.
//   - The ID is renewed on demand, and once it is Settings.RotateEvery old. The
//     old one ends 30 seconds after the new one was first presented, not after it
//     was issued: a response that is lost logs no client out. Parallel requests
//     that meet a due rotation are all given the same new ID.
//   - The session that a login replaces stays what it was until its 30 seconds
//     are over: an attacker may have planted it, but a response may be lost.
//   - A response that changes a session is stored by no cache.
//   - An open stream ends within two seconds of its session's end, on every instance. That
//     costs Redis one command a second for each 512 sessions with open streams of an instance.
//   - Everything in Redis has an expiry, written by the same command as the value.
//
// # When things fail
//
//   - Redis does not answer: [ErrUnavailable], never "logged out". Required
//     routes and those that begin or end sessions answer 503; on optional ones
//     the request passes as anonymous. The client keeps its cookie.
//   - A login, logout or merge that could not be saved is an error (503), and so is
//     a change of a session that has ended meanwhile ([ErrEnded], 409).
//   - While Redis does not answer, open streams stay open.
//   - A touch or a rotation that could not be saved is tried again by the next request.
//   - Without Redis the same records live in a bounded map in this process;
//     where it is full, sessions near their end make room, and anonymous
//     ones never push out a user's.
package session
