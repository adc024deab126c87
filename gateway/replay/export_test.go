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

// CountSeries counts requests at these times, and returns the course of time.
func CountSeries(times []int64) Series {
	var s series
	for _, at := range times {
		s.at(at).Requests++
	}
	return s.result()
}

// MaxSteps is how many steps a series has at most.
const MaxSteps = maxSteps

// CountPaths counts paths and returns the most frequent ones.
func CountPaths(all []string, n int) []PathCount {
	var p paths
	for _, path := range all {
		p.add(pathKey{404, "GET", path})
	}
	return p.top(n)
}

// MaxPaths is how many paths are told apart.
const MaxPaths = maxPaths

// CountClients counts, under a bound, requests of clients with these addresses,
// where denied says which of them are denied; it returns how many are kept
// and how often the denied ones were.
func CountClients(most int, addrs []netip.Addr, isDenied func(netip.Addr) bool) (kept int, denials map[netip.Addr]int64) {
	c := newClients(most)
	for i, a := range addrs {
		v := verdict{dryRun: -1}
		if isDenied(a) {
			v.outcome = denied
		}
		if x := c.of(clientKey{addr: a}); x != nil {
			x.count(int64(i), agentUnknown, &v, "")
		}
	}
	denials = map[netip.Addr]int64{}
	for _, x := range c.all {
		if x.denied > 0 {
			denials[x.key.addr] = x.denied
		}
	}
	return len(c.byKey), denials
}
