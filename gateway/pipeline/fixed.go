package pipeline

import (
	"net/http"
	"strings"
)

// The responses that the policy has the gateway give itself. finishFixed adds what an app
// server's response would have, too: the end of the session on a logout route, and the
// rules for response headers.

// redirect answers with a Location that keeps the request's query unless it has one of
// its own.
func redirect(r *Request) *Answer {
	p := r.Route.Policy.Redirect
	url, err := r.inURL(r.Route.redirectTo)
	if err != nil {
		return refuse(http.StatusBadRequest, "The request has no Host, by which it would be redirected.").because(err)
	}
	to, fragment, marked := strings.Cut(url, "#")
	if r.Query != "" && !strings.Contains(to, "?") {
		to += "?" + r.Query
	}
	if marked {
		to += "#" + fragment
	}
	return r.answered(Answer{Status: p.Status, Detail: "the policy redirects to " + to, Header: http.Header{"Location": {to}}, form: asFixed})
}

// respond answers with the same response every time.
func respond(r *Request) *Answer {
	p := r.Route.Policy.Respond
	return r.answered(Answer{Status: p.Status, Detail: "the policy has a fixed response", form: asFixed, body: r.Route.fixedBody, contentType: p.ContentType})
}
