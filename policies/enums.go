package policies

// Each type here is a word from a short list. Values is the list, for the loader's errors and the schema alike.

// ForwardedFact is what a trusted proxy may say of a request besides the client's address.
type ForwardedFact string

// The values of ForwardedFact.
const (
	ForwardedProto ForwardedFact = "proto"
	ForwardedHost  ForwardedFact = "host"
	ForwardedPort  ForwardedFact = "port"
)

func (ForwardedFact) Values() []string { return list(ForwardedProto, ForwardedHost, ForwardedPort) }

// Scheme is what a client came by.
type Scheme string

// The values of Scheme.
const (
	SchemeHTTP  Scheme = "http"
	SchemeHTTPS Scheme = "https"
)

func (Scheme) Values() []string { return list(SchemeHTTP, SchemeHTTPS) }

// ServerProtocol is what a client may speak.
type ServerProtocol string

// The values of ServerProtocol.
const (
	ServerHTTP1 ServerProtocol = "http1"
	ServerHTTP2 ServerProtocol = "http2"
	ServerH2C   ServerProtocol = "h2c"
)

func (ServerProtocol) Values() []string { return list(ServerHTTP1, ServerHTTP2, ServerH2C) }

// AccessLogFormat is what a line of the access log looks like.
type AccessLogFormat string

// The values of AccessLogFormat.
const (
	AccessLogJSON     AccessLogFormat = "json"
	AccessLogCombined AccessLogFormat = "combined"
)

func (AccessLogFormat) Values() []string { return list(AccessLogJSON, AccessLogCombined) }

// AccessLogField is a field of the access log that can be left out.
type AccessLogField string

func (AccessLogField) Values() []string {
	return []string{
		"id", "client_ip", "method", "host", "uri", "proto", "route", "upstream", "denied_network", "limit", "dry_run",
		"limit_wait_ms", "cache", "encoding", "queue", "job", "attempt", "client", "user", "session", "plan", "login", "user_agent", "referer", "error",
	}
}

// LogLevel is how much a line of the gateway's own log matters.
type LogLevel string

// The values of LogLevel.
const (
	LogDebug LogLevel = "debug"
	LogInfo  LogLevel = "info"
	LogWarn  LogLevel = "warn"
	LogError LogLevel = "error"
)

func (LogLevel) Values() []string { return list(LogDebug, LogInfo, LogWarn, LogError) }

// LogFormat is what a line of the gateway's own log looks like.
type LogFormat string

// The values of LogFormat.
const (
	LogText LogFormat = "text"
	LogJSON LogFormat = "json"
)

func (LogFormat) Values() []string { return list(LogText, LogJSON) }

// ClientRule says whether a route needs a known API key.
type ClientRule string

// The values of ClientRule.
const (
	ClientOptional ClientRule = "optional"
	ClientRequired ClientRule = "required"
)

func (ClientRule) Values() []string { return list(ClientOptional, ClientRequired) }

// EncodedSlashes says what becomes of %2F and %5C in a path.
type EncodedSlashes string

// The values of EncodedSlashes.
const (
	EncodedSlashesRefuse EncodedSlashes = "refuse"
	EncodedSlashesKeep   EncodedSlashes = "keep"
)

func (EncodedSlashes) Values() []string { return list(EncodedSlashesRefuse, EncodedSlashesKeep) }

func list[T ~string](words ...T) []string {
	out := make([]string, len(words))
	for i, w := range words {
		out[i] = string(w)
	}
	return out
}
