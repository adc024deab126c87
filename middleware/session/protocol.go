package session

import (
	"fmt"
	"net/http"
	"slices"
	"time"

	"github.com/dunglas/httpsfv"

	"github.com/headgate/headgate/internal/httpx"
	"github.com/headgate/headgate/internal/yamlnode"
	"github.com/headgate/headgate/middleware/problem"
)

// Headers of the protocol between gateway and app servers; [Protocol] describes
// them. All names that begin with "Headgate-" are reserved: the gateway passes
// none from a client to an app server, and none from an app server to a client.
const (
	HeaderUser      = "Headgate-User"
	HeaderSession   = "Headgate-Session"
	HeaderRef       = "Headgate-Session-Ref"
	HeaderAssertion = "Headgate-Assertion"

	HeaderLogin    = "Headgate-Login"
	HeaderLifetime = "Headgate-Login-Lifetime"
	HeaderMerge    = "Headgate-Session-Merge"
	HeaderRenew    = "Headgate-Session-Renew"
	HeaderLogout   = "Headgate-Logout"
	HeaderPlan     = "Headgate-Plan"

	HeaderLoginAttempt = "Headgate-Login-Attempt"
)

// Direction is which way a header of the protocol travels.
type Direction string

const (
	ToApp   Direction = "to the app"   // on a request, set by [RequestSession.ForwardHeaders]
	FromApp Direction = "from the app" // on a response, read by [ParseActions]
)

// ProtocolHeader describes one header of the protocol.
type ProtocolHeader struct {
	Name      string
	Direction Direction
	Value     string // its form, with the standard that defines it
	Meaning   string
	Modes     []Mode // the routes on which it travels

	// parse reads a FromApp header's value into a, and reports whether the value
	// asks for anything: ?0 does not. Its errors are ErrMalformed.
	parse func(value string, a *Actions) (asks bool, err error)
}

// Protocol returns the headers of the protocol. ParseActions reads them, and
// documentation is made of them, from this one table.
func Protocol() []ProtocolHeader { return slices.Clone(protocol[:]) }

// withSessions are the routes that have sessions.
var withSessions = []Mode{Optional, Required, Login, Logout}

// withOrWithout are all routes.
var withOrWithout = []Mode{Off, Optional, Required, Login, Logout}

// protocol is read only.
var protocol = [...]ProtocolHeader{
	{HeaderUser, ToApp, "text, UTF-8", "who is logged in; none in an anonymous session", withSessions, nil},
	{HeaderSession, ToApp, "JSON object, ASCII", "the session's data; left out above 4 KiB", withSessions, nil},
	{HeaderRef, ToApp, "text, ASCII", "names the session; not secret, the token is not in it", withSessions, nil},
	{HeaderAssertion, ToApp, "JWT (RFC 7519)", "user and reference, signed by the gateway where it has a key", withSessions, nil},
	{HeaderLoginAttempt, FromApp, "text, at most 256 bytes", "this account was tried to log in to; see key account of limits", withOrWithout, parseLoginAttempt},
	{HeaderLogin, FromApp, "text, UTF-8, at most 256 bytes", "this user is now logged in", []Mode{Login}, parseLogin},
	{HeaderLifetime, FromApp, "a duration such as 30d or 12h, or session", "with Headgate-Login: how long the login lasts at most, or that its cookie ends with the browser", []Mode{Login}, parseLifetime},
	{HeaderMerge, FromApp, "JSON merge patch (RFC 7396)", "change the session's data", withSessions, parseMerge},
	{HeaderRenew, FromApp, "?1 or ?0 (RFC 9651 boolean)", "give the session a new ID", withSessions, parseRenew},
	{HeaderLogout, FromApp, "session or everywhere (RFC 9651 token)", "end this session, or all of its user's", withSessions, parseLogout},
	{HeaderPlan, FromApp, "1 to 64 letters, digits, '.', '_' or '-'", "put the session on this plan of the limits; user is the one that all users are on", withSessions, parsePlan},
}

// parseInto reads the header, if it is there, on a route of this mode.
func (p *ProtocolHeader) parseInto(a *Actions, h http.Header, mode Mode) error {
	lines := h[p.Name]
	if len(lines) == 0 {
		return nil
	}
	if len(lines) > 1 {
		return fmt.Errorf("%w: %s %d times", ErrMalformed, p.Name, len(lines))
	}
	asks, err := p.parse(lines[0], a)
	if err != nil {
		return fmt.Errorf("%s: %w", p.Name, err)
	}
	if asks && !slices.Contains(p.Modes, mode) {
		kind := ErrMalformed
		if p.Name == HeaderLogin {
			kind = ErrLoginElsewhere
		}
		return fmt.Errorf("%w: %s on a route with session: %s; it needs one of %v", kind, p.Name, mode, p.Modes)
	}
	return nil
}

// loginElsewhere is ErrMalformed, in its words.
type loginElsewhere struct{ error }

func (l loginElsewhere) Unwrap() error { return l.error }

// parseLogin takes a name that is not UTF-8 for Latin-1, in which Node's setHeader writes. The
// app server gets the name back in the octets that it sent.
func parseLogin(value string, a *Actions) (bool, error) {
	a.Login, a.latin1 = httpx.FieldText(value)
	return true, a.validUser()
}

func parseLifetime(value string, a *Actions) (bool, error) {
	if value == "session" {
		a.BrowserSession = true
		return true, nil
	}
	lifetime, err := yamlnode.ParseDuration(value)
	if err != nil || lifetime < time.Second {
		return false, fmt.Errorf("%w: %.40q is not session, nor a duration of 1s or more, such as 30d", ErrMalformed, value)
	}
	a.Lifetime = lifetime
	return true, nil
}

// parseLoginAttempt takes the account as it is, byte by byte: it need not be UTF-8.
func parseLoginAttempt(value string, a *Actions) (bool, error) {
	switch {
	case value == "":
		return false, fmt.Errorf("%w: no account", ErrMalformed)
	case len(value) > maxUser:
		return false, fmt.Errorf("%w: the account has %d bytes; the most is %d: send a hash of longer ones", ErrMalformed, len(value), maxUser)
	}
	a.LoginAttempt = value
	return true, nil
}

// maxMerge bounds a merge patch, in bytes before letters in it were escaped. What it leads to
// is bounded by Settings.MaxData.
const maxMerge = 8 << 10

func parseMerge(value string, a *Actions) (bool, error) {
	text, _ := httpx.FieldText(value)
	if size := lenBeforeEscaping([]byte(text)); size > maxMerge {
		return false, fmt.Errorf("%w: %d bytes; the most is %d", ErrMalformed, size, maxMerge)
	}
	patch, err := decodeObject([]byte(text))
	if err != nil {
		return false, fmt.Errorf("%w: %w", ErrMalformed, err)
	}
	a.Merge = patch
	return true, nil
}

// parseRenew reads a structured boolean (RFC 9651 section 3.3.6).
func parseRenew(value string, a *Actions) (bool, error) {
	item, err := parseItem(value)
	if err != nil {
		return false, err
	}
	renew, ok := item.(bool)
	if !ok {
		return false, fmt.Errorf("%w: it is not ?1 or ?0", ErrMalformed)
	}
	a.Renew = renew
	return renew, nil
}

// parseLogout reads a structured token (RFC 9651 section 3.3.4).
func parseLogout(value string, a *Actions) (bool, error) {
	item, err := parseItem(value)
	if err != nil {
		return false, err
	}
	word, _ := item.(httpsfv.Token)
	switch scope := LogoutScope(word); scope {
	case LogoutSession, LogoutEverywhere:
		a.Logout = scope
		return true, nil
	}
	return false, fmt.Errorf("%w: it is not session or everywhere", ErrMalformed)
}

// parsePlan reads a plan's name. Whether a limit knows it is not a matter of sessions: an app may
// have plans that no limit has a number for.
func parsePlan(value string, a *Actions) (bool, error) {
	if !problem.IsName(value) {
		return false, fmt.Errorf("%w: a plan is 1 to 64 letters, digits, '.', '_' or '-', a letter or digit first", ErrMalformed)
	}
	a.Plan = value
	return true, nil
}

func parseItem(value string) (any, error) {
	item, err := httpsfv.UnmarshalItem([]string{value})
	if err != nil {
		return nil, fmt.Errorf("%w: %w", ErrMalformed, err)
	}
	return item.Value, nil
}
