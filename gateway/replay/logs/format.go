package logs

import (
	"bytes"
	"fmt"
	"strings"
)

// Format names what the lines of a log look like. Each format's constant is in the file of its parser.
type Format string

// Auto has each log's format found out from its first lines.
const Auto Format = "auto"

// A parser reads one line, without its line break, into a record that is zero but for Bytes, which is -1.
type parser func(line []byte, r *Record, in *interner) error

// row is what the table says of a format.
type row struct {
	name  Format
	about string // for the command's help

	// parse reads a line.
	parse parser
	// detect succeeds for the lines that speak for this format when a log's format is searched for.
	// It is nil for a format that only refine returns.
	detect parser
	// order is the format's place in that search, from 1. Where as many lines speak for two formats, the first
	// one wins: the more a format demands of a line, the lower its number.
	order int
	// refine, if set, tells formats apart that the same detect finds. The lines are those that the search has looked at.
	refine func(lines [][]byte) Format

	// coarse says that times are whole seconds, and that most such logs have no host.
	coarse bool
}

// table has a line for each format, in the order in which the command's help and errors name them.
var table = []row{
	{name: Headgate, about: "Headgate's own", parse: parseHeadgate, detect: parseHeadgate, order: 1},
	{name: Combined, about: "Apache's and nginx' combined", parse: parseCLF, detect: parseCLF, order: 5, refine: combinedOrCommon, coarse: true},
	{name: Common, about: "the common log format", parse: parseCLF, coarse: true},
	{name: Nginx, about: "JSON with nginx' variables for names", parse: parseNginx, detect: parseNginx, order: 4},
	{name: Caddy, about: "Caddy's JSON", parse: parseCaddy, detect: parseCaddy, order: 2},
	{name: Traefik, about: "Traefik's JSON, or its variant of combined", parse: parseTraefik, detect: parseTraefikJSON, order: 3},
}

// Formats returns all formats, [Auto] first.
func Formats() []Format {
	formats := []Format{Auto}
	for i := range table {
		formats = append(formats, table[i].name)
	}
	return formats
}

// row returns the format's line of the table; the zero row for Auto and what is no format.
func (f Format) row() row {
	for _, r := range table {
		if r.name == f {
			return r
		}
	}
	return row{}
}

// About says in a few words what the format is, for people.
func (f Format) About() string {
	if f == Auto {
		return "found out from each log's first lines"
	}
	return f.row().about
}

// Coarse reports whether the format's times are whole seconds and most of its logs have no host.
func (f Format) Coarse() bool { return f.row().coarse }

// detectLines is how many lines have a say in what format a log is.
const detectLines = 50

// detect finds the format for which the most lines speak; Auto if there are no lines.
func detect(beginning []byte) (Format, error) {
	lines := firstLines(beginning)
	if len(lines) == 0 {
		return Auto, nil
	}
	var best row
	most := 0
	for _, r := range table {
		if r.detect == nil {
			continue
		}
		n := countParsed(lines, r.detect)
		if n > most || n == most && n > 0 && r.order < best.order {
			best, most = r, n
		}
	}
	switch {
	case most == 0:
		return Auto, fmt.Errorf("no known format of access logs: %w; the first line is %s; name the format with --format %s",
			likelyReason(lines[0]), Excerpt(lines[0]), formatNames())
	case best.refine != nil:
		return best.refine(lines), nil
	}
	return best.name, nil
}

// firstLines returns the first lines that are not blank.
func firstLines(b []byte) (lines [][]byte) {
	for len(b) > 0 && len(lines) < detectLines {
		var line []byte
		line, b, _ = bytes.Cut(b, []byte{'\n'})
		if line = bytes.TrimSpace(line); len(line) > 0 {
			lines = append(lines, line)
		}
	}
	return lines
}

func countParsed(lines [][]byte, parse parser) (n int) {
	for _, line := range lines {
		var in interner
		if parse(line, &Record{}, &in) == nil {
			n++
		}
	}
	return n
}

// likelyReason says why a line that no parser reads is not of the format that it most likely should be: JSON by nginx, or combined.
func likelyReason(line []byte) error {
	parse := parseCLF
	if line[0] == '{' {
		parse = parseNginx
	}
	var in interner
	return parse(line, &Record{}, &in)
}

// formatNames are the names that --format takes, but for Auto.
func formatNames() string {
	names := make([]string, len(table))
	for i := range table {
		names[i] = string(table[i].name)
	}
	return strings.Join(names, "|")
}
