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
