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

// visit is one user's session from login to logout.
type visit struct {
	user  string
	state sessionState
}

// login takes the answer to a login. It is confirmed by a page and a cookie.
func (v *visit) login(a answer, hasCookie bool) {
	if a.err == nil && a.page != nil && hasCookie {
		v.state = loggedIn
	}
}

// logout takes the answer to a logout. From the moment that it was sent the session may have ended.
func (v *visit) logout(a answer) {
	v.state = unknownState
	if a.err == nil && a.status == 200 {
		v.state = loggedOut
	}
}

// judge checks the answer to a request that needs the session. What is tolerated: no answer, 429
// and 5xx, which say nothing about who the user is.
func (v *visit) judge(a answer) (finding, bool) {
	if a.err != nil || a.status >= 500 || a.status == http.StatusTooManyRequests {
		return finding{}, false
	}
	switch {
	case a.page != nil && a.page.User != v.user:
		return finding{invariant: rightClient, detail: fmt.Sprintf("%s was served as %q", v.user, a.page.User)}, true
	case v.state == loggedIn:
		return finding{invariant: staysIn, holds: a.page != nil, detail: fmt.Sprintf("%s is logged in and got %d", v.user, a.status)}, true
	case v.state == loggedOut:
		return finding{invariant: staysOut, holds: a.page == nil, detail: fmt.Sprintf("%s is logged out and got %d", v.user, a.status)}, true
	}
	return finding{}, false
}

// beUser logs in, acts, logs out and looks whether the session is over, again and again. acts is how
// often it acts; each time it sends two requests at once, as browsers do. One of them is now and then
// to where the app has the session's ID renewed.
func beUser(ctx context.Context, first, second *client, acts int) {
	for n := 0; pause(ctx, first.rng, 150*time.Millisecond); n++ {
		v, cookies := visit{user: fmt.Sprintf("%s.%d", first.name, n)}, &jar{}
		a := first.do(ctx, request{kind: "login", method: "POST", path: "/login", header: map[string]string{headerUser: v.user}})
		cookies.take(a)
		v.login(a, cookies.cookie != "")
		if v.state != loggedIn {
			continue
		}
		for i := 0; i < acts && pause(ctx, first.rng, 250*time.Millisecond); i++ {
			actTwice(ctx, first, second, &v, cookies)
		}
		if ctx.Err() != nil {
			return
		}
		a = first.do(ctx, request{kind: "logout", method: "POST", path: "/logout", cookie: cookies.cookie})
		v.logout(a)
		for _, cookie := range cookies.all {
			a := first.do(ctx, request{kind: "account", method: "GET", path: "/account/after", cookie: cookie})
			v.report(first, a)
		}
	}
}

func actTwice(ctx context.Context, first, second *client, v *visit, cookies *jar) {
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
		v.report(c, answers[i])
		cookies.take(answers[i])
	}
}

func (v *visit) report(c *client, a answer) {
	if f, ok := v.judge(a); ok {
		c.report.judge(f, a.id)
	}
}
