package session

import (
	"fmt"
	"net/http"
	"time"
	"unicode"
	"unicode/utf8"
)

// Actions are what an app server asks for in a response's headers, or an app in
// the same process by calls. The zero value asks for nothing.
type Actions struct {
	Login  string         // this user is now logged in; UTF-8
	Merge  map[string]any // JSON merge patch, numbers as json.Number; nil: none
	Renew  bool           // new ID
	Logout LogoutScope
	// Lifetime is how long the session of Login may last at most: up to Settings.AbsoluteTimeout
	// or Settings.Remember, whichever is longer. 0: Settings.AbsoluteTimeout.
	Lifetime time.Duration
	// BrowserSession has the cookie of Login end with the browser.
	BrowserSession bool
	Plan           string // put the user's session on this plan; without a user it does nothing
	// LoginAttempt is the account that the request has tried to log in to. It changes no
	// session: limits by account count it.
	LoginAttempt string

	latin1 bool // the app server sent Login in Latin-1
}

// Any reports whether the app server asks for anything to be done with sessions.
func (a Actions) Any() bool {
	return a.Login != "" || a.Merge != nil || a.Renew || a.Logout != LogoutNone || a.Plan != ""
}

// LogoutScope is how much a logout ends.
type LogoutScope string

const (
	LogoutNone       LogoutScope = ""
	LogoutSession    LogoutScope = "session"    // this session
	LogoutEverywhere LogoutScope = "everywhere" // all of the user's at this host, or in the cookie's domain
)

// ParseActions reads what the app server asks for on a route of this mode, as
// the table of [Protocol] says. An error is ErrMalformed and means 502: a header
// can't be followed, or the route does not allow it. The response must then not
// reach the client, which would take it for a success. LoginAttempt is then set all
// the same, if that header can be followed: the attempt counts.
//
// It leaves the headers as they are; [RequestSession.TakeActions] removes them.
func ParseActions(h http.Header, mode Mode) (Actions, error) {
	if mode == "" {
		mode = Off
	}
	var a Actions
	for i := range protocol {
		if protocol[i].Direction != FromApp {
			continue
		}
		if err := protocol[i].parseInto(&a, h, mode); err != nil {
			return Actions{LoginAttempt: a.LoginAttempt}, err
		}
	}
	if a.Login == "" && (a.Lifetime != 0 || a.BrowserSession) {
		return Actions{LoginAttempt: a.LoginAttempt}, fmt.Errorf("%w: %s without %s", ErrMalformed, HeaderLifetime, HeaderLogin)
	}
	if a.Login != "" && a.Logout != LogoutNone {
		return Actions{LoginAttempt: a.LoginAttempt}, fmt.Errorf("%w: %s and %s in one response", ErrMalformed, HeaderLogin, HeaderLogout)
	}
	return a, nil
}

// maxUser bounds a user's name, in bytes as the app server sends it.
const maxUser = 256

// validUser accepts what travels unchanged in a header and in JSON.
func (a *Actions) validUser() error {
	user, size := a.Login, len(a.Login)
	if a.latin1 {
		size = utf8.RuneCountInString(user)
	}
	switch {
	case user == "":
		return fmt.Errorf("%w: no user", ErrMalformed)
	case size > maxUser:
		return fmt.Errorf("%w: the user has %d bytes; the most is %d", ErrMalformed, size, maxUser)
	case !utf8.ValidString(user):
		return fmt.Errorf("%w: the user is not valid UTF-8", ErrMalformed)
	case user[0] == ' ' || user[len(user)-1] == ' ':
		return fmt.Errorf("%w: the user begins or ends with a space", ErrMalformed)
	}
	for _, r := range user {
		if !unicode.IsPrint(r) {
			return fmt.Errorf("%w: the user has an unprintable character", ErrMalformed)
		}
	}
	return nil
}
