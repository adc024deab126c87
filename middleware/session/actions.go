package session

import (
	"fmt"
	"net/http"
	"unicode"
	"unicode/utf8"

	"github.com/dunglas/httpsfv"
)

// maxUser bounds a user's name, in bytes.
const maxUser = 256

// maxMerge bounds a merge patch as it is received. What it leads to is bounded
// by Settings.MaxData.
const maxMerge = 8 << 10

// Actions are what an app server asks for in a response's headers. The zero
// value asks for nothing.
type Actions struct {
	Login  string         // this user is now logged in
	Merge  map[string]any // JSON merge patch, numbers as json.Number; nil: none
	Renew  bool           // new ID
	Logout LogoutScope
}

// Any reports whether the app server asks for anything.
func (a Actions) Any() bool {
	return a.Login != "" || a.Merge != nil || a.Renew || a.Logout != LogoutNone
}

// LogoutScope is how much a logout ends.
type LogoutScope string

const (
	LogoutNone       LogoutScope = ""
	LogoutSession    LogoutScope = "session"    // this session
	LogoutEverywhere LogoutScope = "everywhere" // all of the user's
)

// ParseActions reads what the app server asks for on a route of this mode. An
// error is ErrMalformed and means 502: the header can't be followed, or the
// route does not allow it (a login needs [Login], everything needs sessions),
// and an answer that reports a success which isn't one must not go out.
//
// It leaves the headers as they are; [StripReserved] removes them.
func ParseActions(h http.Header, mode Mode) (a Actions, err error) {
	if a.Login, err = parseLogin(h); err != nil {
		return Actions{}, err
	}
	if a.Merge, err = parseMerge(h); err != nil {
		return Actions{}, err
	}
	if a.Renew, err = parseRenew(h); err != nil {
		return Actions{}, err
	}
	if a.Logout, err = parseLogout(h); err != nil {
		return Actions{}, err
	}
	switch {
	case a.Login != "" && mode != Login:
		return Actions{}, fmt.Errorf("%w: %s on a route that has not session: login", ErrMalformed, HeaderLogin)
	case a.Login != "" && a.Logout != LogoutNone:
		return Actions{}, fmt.Errorf("%w: %s and %s in one answer", ErrMalformed, HeaderLogin, HeaderLogout)
	case (mode == Off || mode == "") && (a.Merge != nil || a.Renew || a.Logout != LogoutNone):
		return Actions{}, fmt.Errorf("%w: the route has session: off", ErrMalformed)
	}
	return a, nil
}

// single returns the header's only line.
func single(h http.Header, name string) (value string, present bool, err error) {
	switch lines := h[name]; len(lines) {
	case 0:
		return "", false, nil
	case 1:
		return lines[0], true, nil
	default:
		return "", false, fmt.Errorf("%w: %s %d times", ErrMalformed, name, len(lines))
	}
}

func parseLogin(h http.Header) (user string, err error) {
	user, present, err := single(h, HeaderLogin)
	if err != nil || !present {
		return "", err
	}
	return user, validUser(user)
}

// validUser accepts what travels unchanged in a header and in JSON.
func validUser(user string) error {
	switch {
	case user == "":
		return fmt.Errorf("%w: no user", ErrMalformed)
	case len(user) > maxUser:
		return fmt.Errorf("%w: the user has %d bytes; the most is %d", ErrMalformed, len(user), maxUser)
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

func parseMerge(h http.Header) (map[string]any, error) {
	text, present, err := single(h, HeaderMerge)
	if err != nil || !present {
		return nil, err
	}
	if len(text) > maxMerge {
		return nil, fmt.Errorf("%w: %s has %d bytes; the most is %d", ErrMalformed, HeaderMerge, len(text), maxMerge)
	}
	patch, err := decodeObject([]byte(text))
	if err != nil {
		return nil, fmt.Errorf("%w: %s: %w", ErrMalformed, HeaderMerge, err)
	}
	return patch, nil
}

// parseRenew reads a structured boolean (RFC 9651 section 3.3.6).
func parseRenew(h http.Header) (bool, error) {
	item, present, err := structured(h, HeaderRenew)
	if err != nil || !present {
		return false, err
	}
	renew, ok := item.(bool)
	if !ok {
		return false, fmt.Errorf("%w: %s is not ?1 or ?0", ErrMalformed, HeaderRenew)
	}
	return renew, nil
}

// parseLogout reads a structured token (RFC 9651 section 3.3.4).
func parseLogout(h http.Header) (LogoutScope, error) {
	item, present, err := structured(h, HeaderLogout)
	if err != nil || !present {
		return LogoutNone, err
	}
	word, _ := item.(httpsfv.Token)
	switch scope := LogoutScope(word); scope {
	case LogoutSession, LogoutEverywhere:
		return scope, nil
	}
	return LogoutNone, fmt.Errorf("%w: %s is not session or everywhere", ErrMalformed, HeaderLogout)
}

func structured(h http.Header, name string) (value any, present bool, err error) {
	text, present, err := single(h, name)
	if err != nil || !present {
		return nil, false, err
	}
	item, err := httpsfv.UnmarshalItem([]string{text})
	if err != nil {
		return nil, false, fmt.Errorf("%w: %s: %w", ErrMalformed, name, err)
	}
	return item.Value, true, nil
}
