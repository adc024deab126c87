package session_test

import (
	"fmt"
	"net/http"
	"net/http/httptest"

	"github.com/headgate/headgate/middleware/session"
)

// What a gateway does for each request: the app server behind it logs a user in
// and reads the session from headers.
func ExampleRequestSession() {
	m, err := session.New(session.Options{})
	if err != nil {
		panic(err)
	}
	gateway := func(r *http.Request, route session.Route, app func(request, response http.Header)) *http.Response {
		w := httptest.NewRecorder()
		rs := m.ForRequest(r, route)
		_ = rs.Load(r.Context()) // Authorize knows what an error means on this route
		if verdict := rs.Authorize(); !verdict.Pass() {
			verdict.WriteHeaders(w.Header())
			w.WriteHeader(verdict.Status)
			return w.Result()
		}
		rs.ForwardHeaders(r.Header)
		app(r.Header, w.Header())
		actions, err := rs.TakeActions(w.Header())
		if err == nil {
			_, err = rs.Commit(r.Context(), actions)
		}
		if err != nil {
			refusal := session.Refuse(err)
			refusal.WriteHeaders(w.Header())
			w.WriteHeader(refusal.Status)
			return w.Result()
		}
		rs.WriteHeaders(w.Header())
		w.WriteHeader(http.StatusOK)
		return w.Result()
	}

	loggedIn := gateway(httptest.NewRequest("POST", "/login", nil), session.Route{Mode: session.Login},
		func(_, response http.Header) {
			response.Set(session.HeaderLogin, "alice")
			response.Set(session.HeaderMerge, `{"cart":1}`)
		})
	fmt.Println(loggedIn.StatusCode, loggedIn.Header.Get("Cache-Control"), loggedIn.Cookies()[0].Name)

	r := httptest.NewRequest("GET", "/cart", nil)
	r.AddCookie(loggedIn.Cookies()[0])
	gateway(r, session.Route{Mode: session.Required}, func(request, _ http.Header) {
		fmt.Println(request.Get(session.HeaderUser), request.Get(session.HeaderSession), request.Values("Cookie"))
	})

	stranger := gateway(httptest.NewRequest("GET", "/cart", nil), session.Route{Mode: session.Required}, nil)
	fmt.Println(stranger.StatusCode, stranger.Header.Get("WWW-Authenticate"))
	// Output:
	// 200 private, no-store __Host-session
	// alice {"cart":1} []
	// 401 Cookie cookie-name="__Host-session"
}

// The headers between gateway and app servers.
func ExampleProtocol() {
	for _, h := range session.Protocol() {
		fmt.Printf("%s, %s: %s. %s\n", h.Name, h.Direction, h.Value, h.Meaning)
	}
	// Output:
	// Headgate-User, to the app: text, UTF-8. who is logged in; none in an anonymous session
	// Headgate-Session, to the app: JSON object, ASCII. the session's data; left out above 4 KiB
	// Headgate-Session-Ref, to the app: text, ASCII. names the session; not secret, the token is not in it
	// Headgate-Assertion, to the app: JWT (RFC 7519). user and reference, signed by the gateway where it has a key
	// Headgate-Login-Attempt, from the app: text, at most 256 bytes. this account was tried to log in to; see key account of limits
	// Headgate-Login, from the app: text, UTF-8, at most 256 bytes. this user is now logged in
	// Headgate-Login-Lifetime, from the app: a duration such as 30d or 12h, or session. with Headgate-Login: how long the login lasts at most, or that its cookie ends with the browser
	// Headgate-Session-Merge, from the app: JSON merge patch (RFC 7396). change the session's data
	// Headgate-Session-Renew, from the app: ?1 or ?0 (RFC 9651 boolean). give the session a new ID
	// Headgate-Logout, from the app: session or everywhere (RFC 9651 token). end this session, or all of its user's
	// Headgate-Plan, from the app: 1 to 64 letters, digits, '.', '_' or '-'. put the session on this plan of the limits; user is the one that all users are on
}
