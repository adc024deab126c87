//go:build linux

package main

import (
	"context"
	"fmt"
	"net/http"
	"sync"
	"time"
)

// sessionState is what a user knows of the session.
type sessionState int

const (
	unknownState sessionState = iota // a login or logout got no answer, or an error
	loggedIn                         // a login was confirmed, and no logout was sent since
	loggedOut                        // a logout was confirmed
)

// userSession is one user's session from login to logout.
type userSession struct {
	user  string
	state sessionState
}

// login takes the answer to a login. It is confirmed by a page and a cookie.
func (u *userSession) login(a answer, hasCookie bool) {
	if a.err == nil && a.page != nil && hasCookie {
		u.state = loggedIn
	}
}

// logout takes the answer to a logout. From the moment that it was sent the session may have ended.
func (u *userSession) logout(a answer) {
	u.state = unknownState
	if a.err == nil && a.status == 200 {
		u.state = loggedOut
	}
}

// judge checks the answer to a request that needs the session. What is tolerated: no answer, 429
// and 5xx, which say nothing about who the user is.
func (u *userSession) judge(a answer) (finding, bool) {
	if a.err != nil || a.status >= 500 || a.status == http.StatusTooManyRequests {
		return finding{}, false
	}
	switch {
	case a.page != nil && a.page.User != u.user:
		return finding{invariant: rightClient, detail: fmt.Sprintf("%s was served as %q", u.user, a.page.User)}, true
	case u.state == loggedIn:
		return finding{invariant: staysIn, holds: a.page != nil, detail: fmt.Sprintf("%s is logged in and got %d", u.user, a.status)}, true
	case u.state == loggedOut:
		return finding{invariant: staysOut, holds: a.page == nil, detail: fmt.Sprintf("%s is logged out and got %d", u.user, a.status)}, true
	}
	return finding{}, false
}

// beUser logs in, acts, logs out and looks whether the session is over, again and again. acts is how
// often it acts; each time it sends two requests at once, as browsers do. One of them is now and then
// to where the app has the session's ID renewed.
func beUser(ctx context.Context, first, second *client, acts int) {
	for n := 0; pause(ctx, first.rng, 150*time.Millisecond); n++ {
		u, cookies := userSession{user: fmt.Sprintf("%s.%d", first.name, n)}, &jar{}
		a := first.do(ctx, request{kind: "login", method: "POST", path: "/login", header: map[string]string{headerUser: u.user}})
		cookies.take(a)
		u.login(a, cookies.cookie != "")
		if u.state != loggedIn {
			continue
		}
		for i := 0; i < acts && pause(ctx, first.rng, 250*time.Millisecond); i++ {
			actTwice(ctx, first, second, &u, cookies)
		}
		if ctx.Err() != nil {
			return
		}
		a = first.do(ctx, request{kind: "logout", method: "POST", path: "/logout", cookie: cookies.cookie})
		u.logout(a)
		for _, cookie := range cookies.all {
			a := first.do(ctx, request{kind: "account", method: "GET", path: "/account/after", cookie: cookie})
			u.report(first, a)
		}
	}
}

func actTwice(ctx context.Context, first, second *client, u *userSession, cookies *jar) {
	cookie, paths := cookies.cookie, [2]string{"/account/a", "/account/b"}
	if first.rng.IntN(4) == 0 {
		paths[1] = renewPath
	}
	var answers [2]answer
	var both sync.WaitGroup
	for i, c := range []*client{first, second} {
		both.Go(func() {
			answers[i] = c.do(ctx, request{kind: "account", method: "GET", path: paths[i], cookie: cookie})
		})
	}
	both.Wait()
	for i, c := range []*client{first, second} {
		u.report(c, answers[i])
		cookies.take(answers[i])
	}
}

func (u *userSession) report(c *client, a answer) {
	if f, ok := u.judge(a); ok {
		c.report.judge(f, a.id)
	}
}
