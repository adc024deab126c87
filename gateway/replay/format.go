package replay

import (
	"bytes"
	"fmt"
	"strings"
)

// Format names what the lines of a log look like.
type Format string

// The formats.
const (
	Auto     Format = "auto"     // found out from each log's first lines
	Headgate Format = "headgate" // our own access log
	Combined Format = "combined" // Apache's and nginx' combined
	Common   Format = "common"   // the common log format
	Nginx    Format = "nginx"    // JSON by an nginx log_format
	Caddy    Format = "caddy"    // Caddy's JSON
	Traefik  Format = "traefik"  // Traefik's JSON, or its own variant of combined
)

// Formats are all of them.
func Formats() []Format {
	return []Format{Auto, Headgate, Combined, Common, Nginx, Caddy, Traefik}
}

// parser reads one line, without its line break, into a record that is zero.
type parser func(line []byte, r *record, in *interner) error

// parser returns how a format's lines are read; nil for Auto and what is no format.
func (f Format) parser() parser {
	switch f {
	case Headgate:
		return parseHeadgate
	case Combined, Common:
		return parseCLF
	case Nginx:
		return parseNginx
	case Caddy:
		return parseCaddy
	case Traefik:
		return parseEitherTraefik
	}
	return nil
}

func parseEitherTraefik(line []byte, r *record, in *interner) error {
	if len(line) > 0 && line[0] == '{' {
		return parseTraefik(line, r, in)
	}
	return parseCLF(line, r, in)
}

// detectLines is how many lines have a say in what format they are.
const detectLines = 50

// detect finds the format of which the most lines are. Among equals the first one
// of this order wins: the more a format demands, the earlier it stands.
func detect(beginning []byte) (Format, error) {
	var lines [][]byte
	for len(beginning) > 0 && len(lines) < detectLines {
		var line []byte
		line, beginning, _ = bytes.Cut(beginning, []byte{'\n'})
		if line = bytes.TrimSpace(line); len(line) > 0 {
			lines = append(lines, line)
		}
	}
	best, most, reason := Auto, 0, ""
	for _, f := range []Format{Headgate, Caddy, Traefik, Nginx, Combined} {
		n := 0
		for _, line := range lines {
			if f == Traefik && line[0] != '{' {
				continue // its variant of combined is read as combined
			}
			var in interner
			if err := f.parser()(line, &record{}, &in); err == nil {
				n++
			} else if reason == "" && f == guess(line) {
				reason = ": " + err.Error()
			}
		}
		if n > most {
			best, most = f, n
		}
	}
	if best == Auto && len(lines) > 0 {
		return Auto, fmt.Errorf("no known format of access logs%s; the first line is %s; name the format with --format %s",
			reason, clip(lines[0]), strings.Join(names(Formats()[1:]), "|"))
	}
	if best == Combined && !hasAgents(lines) {
		best = Common
	}
	return best, nil
}

// guess says whose reason is worth telling when no format fits.
func guess(line []byte) Format {
	if line[0] == '{' {
		return Nginx
	}
	return Combined
}

func hasAgents(lines [][]byte) bool {
	for _, line := range lines {
		var r record
		var in interner
		if parseCLF(line, &r, &in) == nil && r.HasAgent {
			return true
		}
	}
	return false
}

func names(formats []Format) (s []string) {
	for _, f := range formats {
		s = append(s, string(f))
	}
	return s
}
