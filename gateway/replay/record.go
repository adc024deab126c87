package replay

import (
	"net/netip"
	"time"
)

// record is one request, as a log tells of it.
type record struct {
	At       int64         // when it came, in microseconds since 1970
	Took     time.Duration // until its answer was complete; 0 where the log does not say
	Addr     netip.Addr    // the client's, unmapped and without a zone; the zero Addr where it is not known
	Method   string        // "" where the client did not speak HTTP
	Host     string        // as sent; "" where the log does not say
	URI      string        // the request's target as it came
	Status   int           // of the answer; 0 where the log does not say
	Bytes    int64         // of the answer's body; -1 where the log does not say
	Agent    string        // User-Agent
	HasAgent bool          // whether the log tells of user agents at all
	Referer  string
	Own      *ownFields // of our own access log alone
}

// ownFields is what our own access log tells beyond others.
type ownFields struct {
	Route    string // that took it
	Limit    string // that denied it
	Client   string // whose API key it carried
	User     string // whose session it carried
	Session  string // that session's reference
	Answered bool   // by an app server
	Failed   bool   // the gateway answered in the app's place
	LoggedIn bool   // the app logged its user in
}

// statusClientGone is what nginx and our own log call it when the client left
// before there was an answer.
const statusClientGone = 499

// interner keeps one copy of strings that come again and again. It is bounded:
// where there are too many it forgets them all.
type interner struct{ known map[string]string }

const (
	maxInterned    = 8192
	maxInternedLen = 512
)

func (in *interner) of(b []byte) string {
	if len(b) == 0 {
		return ""
	}
	if s, ok := in.known[string(b)]; ok {
		return s
	}
	s := string(b)
	if len(s) > maxInternedLen {
		return s
	}
	if in.known == nil || len(in.known) >= maxInterned {
		in.known = make(map[string]string, 256)
	}
	in.known[s] = s
	return s
}
