package logs

import (
	"net/netip"
	"time"
)

// Record is one request, as far as its line in the log describes it.
type Record struct {
	At       int64         // when the request arrived, in microseconds since 1970
	Took     time.Duration // from then until the response was complete; 0 where the log does not say
	Addr     netip.Addr    // the client's, unmapped and without a zone; the zero Addr where the log does not say
	Method   string        // "" where the client did not speak HTTP
	Host     string        // as the client sent it; "" where the log does not say
	URI      string        // the request's target as the client sent it
	Status   int           // of the response; 0 where the log does not say
	Bytes    int64         // of the response's body; -1 where the log does not say
	Agent    string        // User-Agent
	HasAgent bool          // whether the log has user agents at all
	Referer  string
	Own      *Own // nil for other logs than Headgate's
}

// Own is what Headgate's access log says beyond others.
type Own struct {
	Route         string // the route that took the request
	DeniedNetwork bool   // server.deny or a block refused its network
	Limit         string // the limit that denied it
	Client        string // the owner of the API key that the client sent
	User          string // the user of the session that the client sent
	Session       string // that session's reference
	Plan          string // the plan that the app had put that session on
	AnsweredByApp bool   // the request was forwarded to an app server
	GatewayError  bool   // the gateway answered with an error in the app server's place
	LoggedIn      bool   // the app server logged its user in
	Attempt       bool   // the line is about an attempt at a job, which no client has sent
}

// StatusClientClosed is the status that nginx and Headgate log for a client that disconnected before
// there was a response.
const StatusClientClosed = 499
