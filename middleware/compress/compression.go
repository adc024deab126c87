package compress

import (
	"strings"

	"github.com/headgate/headgate/internal/httpx"
	"github.com/headgate/headgate/middleware/problem"
)

// Compression says which responses are compressed: with br, zstd or gzip, by the client's Accept-Encoding.
type Compression struct {
	// Media types that are compressed: text/html, text/* for all of a kind, +json for all that end so; one or a list. text/event-stream and
	// application/grpc are compressed only where they are written in full. Those that are
	// listed take the place of all others. Default: text, JSON, JavaScript, XML, SVG, WebAssembly, and
	// fonts that are not compressed in themselves.
	Types []string `yaml:"types"`
	// The smallest body that is compressed, where its length is known. Default 1KiB.
	Min int64 `yaml:"min" config:"size"`
	// Whether answers that may hold a user's secrets are compressed, too: to a request with a session, a cookie that the cache rule does not
	// ignore, Authorization or an API key; with Set-Cookie, or Cache-Control: private or no-store. Default false. Hazard: where an answer
	// holds a secret beside what a client has sent, its length tells who watches the network about the secret (BREACH).
	Private bool `yaml:"private"`
}

// defaultTypes are compressed where Types is nil: those that gain by it.
var defaultTypes = []string{
	"text/*", "+json", "+xml", "+yaml",
	"application/json", "application/x-ndjson", "application/jsonl", "application/javascript", "application/x-javascript", "application/ecmascript",
	"application/xml", "application/yaml", "application/toml", "application/graphql", "application/wasm", "application/rtf",
	"application/x-protobuf", "application/vnd.ms-fontobject",
	"font/ttf", "font/otf", "font/collection", "application/x-font-ttf", "application/x-font-otf",
	"image/bmp", "image/x-icon", "image/vnd.microsoft.icon",
}

// SetDefaults fills in what is zero and has a default.
func (s *Compression) SetDefaults() {
	if s.Min == 0 {
		s.Min = 1 << 10
	}
}

// Validate says everything that is wrong with settings whose defaults are set.
func (s *Compression) Validate() []problem.Problem {
	var ps problem.List
	if s.Types != nil && len(s.Types) == 0 {
		ps.Add("types", "list one, or write compress: off", "nothing is compressed without types")
	}
	for i, t := range s.Types {
		if !isPattern(t) {
			ps.Add(problem.Item("types", i), "write a type like application/json, a kind like text/*, or an ending like +json", "%s is not a media type", problem.Quote(t))
		}
	}
	problem.Positive(&ps, "min", s.Min)
	return ps
}

func isPattern(s string) bool {
	if suffix, ok := strings.CutPrefix(s, "+"); ok {
		return httpx.IsToken(suffix)
	}
	kind, name, ok := strings.Cut(s, "/")
	return ok && kind != "*" && httpx.IsToken(kind) && httpx.IsToken(name) && (name == "*" || !strings.Contains(name, "*"))
}
