package policies

// Each type here is a word from a short list. Values is the list, for the loader's errors and the schema alike.

// ClientIPHeader names the header that trusted proxies put the client's address in.
type ClientIPHeader string

// The values of ClientIPHeader.
const (
	XForwardedFor ClientIPHeader = "x-forwarded-for"
	Forwarded     ClientIPHeader = "forwarded" // RFC 7239
)

func (ClientIPHeader) Values() []string { return list(XForwardedFor, Forwarded) }

// ServerProtocol is what a client may speak.
type ServerProtocol string

// The values of ServerProtocol.
const (
	ServerHTTP1 ServerProtocol = "http1"
	ServerHTTP2 ServerProtocol = "http2"
	ServerH2C   ServerProtocol = "h2c"
)

func (ServerProtocol) Values() []string { return list(ServerHTTP1, ServerHTTP2, ServerH2C) }

// RateLimitHeaders says which rate limit headers clients get.
type RateLimitHeaders string

// The values of RateLimitHeaders.
const (
	HeadersDraft  RateLimitHeaders = "draft"
	HeadersLegacy RateLimitHeaders = "legacy"
	HeadersOff    RateLimitHeaders = "off"
)

func (RateLimitHeaders) Values() []string { return list(HeadersDraft, HeadersLegacy, HeadersOff) }

// SessionRule is what a route does with sessions.
type SessionRule string

// The values of SessionRule.
const (
	SessionOff      SessionRule = "off"
	SessionOptional SessionRule = "optional"
	SessionRequired SessionRule = "required"
	SessionLogin    SessionRule = "login"
	SessionLogout   SessionRule = "logout"
)

func (SessionRule) Values() []string {
	return list(SessionOff, SessionOptional, SessionRequired, SessionLogin, SessionLogout)
}

// ClientRule says whether a route needs a known API key.
type ClientRule string

// The values of ClientRule.
const (
	ClientOptional ClientRule = "optional"
	ClientRequired ClientRule = "required"
)

func (ClientRule) Values() []string { return list(ClientOptional, ClientRequired) }

func list[T ~string](words ...T) []string {
	out := make([]string, len(words))
	for i, w := range words {
		out[i] = string(w)
	}
	return out
}
