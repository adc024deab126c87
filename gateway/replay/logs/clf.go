package logs

import (
	"bytes"
	"errors"
	"fmt"
	"net/netip"
	"strconv"

	"github.com/headgate/headgate/internal/httpx"
)

const (
	// Combined is the common log format with referer and user agent, as Apache and nginx write it.
	Combined Format = "combined"
	// Common is the common log format.
	Common Format = "common"
)

// combinedOrCommon tells the two apart: a log in which no line has a user agent is Common.
func combinedOrCommon(lines [][]byte) Format {
	for _, line := range lines {
		var r Record
		var in interner
		if parseCLF(line, &r, &in) == nil && r.HasAgent {
			return Combined
		}
	}
	return Common
}

// parseCLF reads the common log format and what is built on it: combined, which adds referer and user
// agent; Apache's vhost_combined, which puts host and port in front; and variants that end in the request's
// duration. Other fields that follow are ignored.
//
//	192.0.2.1 - - [02/Jan/2006:15:04:05 -0700] "GET /x HTTP/1.1" 200 2326 "referer" "user agent"
func parseCLF(line []byte, r *Record, in *interner) error {
	addr, rest, _ := bytes.Cut(line, space)
	var err error
	if r.Addr, err = parseAddr(addr); err != nil {
		second, after, _ := bytes.Cut(rest, space)
		vhost, err2 := parseAddr(second)
		if err2 != nil {
			return err
		}
		r.Addr, rest = vhost, after
		r.Host = in.of(addr)
	}

	open := bytes.IndexByte(rest, '[')
	if open < 0 {
		return errors.New("no [time]")
	}
	rest = rest[open+1:]
	stamp, rest, ok := bytes.Cut(rest, closeBracket)
	if !ok {
		return errors.New("no [time]")
	}
	if r.At, err = parseCLFTime(stamp); err != nil {
		return fmt.Errorf("%w: %s", err, Excerpt(stamp))
	}

	request, rest, ok := cutQuoted(rest)
	if !ok {
		return errors.New("no \"request\" in quotes")
	}
	r.setRequestLine(request, in)

	status, rest, _ := bytes.Cut(bytes.TrimLeft(rest, " "), space)
	if r.Status, err = parseStatus(status); err != nil {
		return err
	}
	size, rest, _ := bytes.Cut(rest, space)
	r.setBytes(size)

	referer, rest, ok := cutQuoted(rest)
	if !ok {
		return nil // the common format ends here
	}
	agent, rest, ok := cutQuoted(rest)
	if !ok {
		return nil
	}
	r.Referer = in.of(noDash(referer))
	r.Agent, r.HasAgent = in.of(noDash(agent)), true
	r.setTrailingDuration(rest)
	return nil
}

var (
	space        = []byte{' '}
	closeBracket = []byte{']'}
)

// setTrailingDuration takes the duration from a last field in milliseconds, such as 12ms.
func (r *Record) setTrailingDuration(rest []byte) {
	rest, ok := bytes.CutSuffix(rest, []byte("ms"))
	if i := bytes.LastIndexByte(rest, ' '); ok && i >= 0 {
		if ms, err := strconv.ParseUint(string(rest[i+1:]), 10, 31); err == nil {
			r.Took = durationMillis(float64(ms))
		}
	}
}

// cutQuoted returns the next text in quotes, without its escapes, and what follows it.
func cutQuoted(b []byte) (text, rest []byte, ok bool) {
	s := scanner{b: b}
	for s.i < len(b) && b[s.i] == ' ' {
		s.i++
	}
	v, ok := s.str()
	if !ok {
		return nil, b, false
	}
	return v.bytes(), b[s.i:], true
}

// noDash returns the text, or nil for a single dash, which stands for a missing value.
func noDash(b []byte) []byte {
	if len(b) == 1 && b[0] == '-' {
		return nil
	}
	return b
}

// parseAddr reads a client's address, with or without a port.
func parseAddr(b []byte) (netip.Addr, error) {
	s := string(b)
	a, err := netip.ParseAddr(s)
	if err != nil {
		ap, err := netip.ParseAddrPort(s)
		if err != nil {
			return netip.Addr{}, fmt.Errorf("no client address where one should be: %s", Excerpt(b))
		}
		a = ap.Addr()
	}
	return a.Unmap().WithZone(""), nil
}

// maxMethod is how long a method may be, in bytes. A client that sends a longer one does not speak HTTP.
const maxMethod = 32

// setRequestLine takes method and target from "GET /x HTTP/1.1". Where the
// client did not speak HTTP, the method stays empty.
func (r *Record) setRequestLine(line []byte, in *interner) {
	method, rest, ok := bytes.Cut(line, space)
	if !ok || len(rest) == 0 || !httpx.IsToken(method) || len(method) > maxMethod {
		return
	}
	if i := bytes.LastIndex(rest, []byte(" HTTP/")); i >= 0 {
		rest = rest[:i]
	}
	r.Method = in.of(method)
	r.URI = string(rest)
}

// parseStatus reads three digits; a dash or 0 is no status.
func parseStatus(b []byte) (int, error) {
	if len(b) == 3 && b[0] >= '0' && b[0] <= '9' {
		if n, err := strconv.Atoi(string(b)); err == nil {
			return n, nil // nginx logs 000 where it sent no response
		}
	}
	if len(b) == 1 && (b[0] == '-' || b[0] == '0') {
		return 0, nil
	}
	return 0, fmt.Errorf("no status where one should be: %s", Excerpt(b))
}

// setBytes takes the body's size; a dash is a size of 0.
func (r *Record) setBytes(b []byte) {
	r.Bytes = -1
	if n, err := strconv.ParseInt(string(b), 10, 64); err == nil && n >= 0 {
		r.Bytes = n
	} else if len(b) == 1 && b[0] == '-' {
		r.Bytes = 0
	}
}
