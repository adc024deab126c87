package replay

import (
	"net/netip"
	"time"
)

// Parsed is what a parser made of a line.
type Parsed struct {
	At     int64
	Took   time.Duration
	Addr   netip.Addr
	Method string
	URI    string
	Status int
	Bytes  int64
}

// MaxMicros is the latest time that a parser may return.
const MaxMicros = maxMicros

// ParseLine reads one line.
func ParseLine(f Format, line []byte) (Parsed, error) {
	var r record
	var in interner
	err := f.parser()(line, &r, &in)
	return Parsed{r.At, r.Took, r.Addr, r.Method, r.URI, r.Status, r.Bytes}, err
}

// Fields returns the keys of a JSON object, and the text of its strings.
func Fields(line []byte) (keys []string, texts map[string]string, err error) {
	texts = map[string]string{}
	err = eachField(line, func(key []byte, v value) error {
		keys = append(keys, string(key))
		delete(texts, string(key))
		if v.kind == kindString {
			texts[string(key)] = string(v.bytes())
		}
		return nil
	})
	return keys, texts, err
}

// IsBot reports what a user agent is taken for.
func IsBot(agent string) bool { return classifyAgent(agent).looksLikeBot() }
