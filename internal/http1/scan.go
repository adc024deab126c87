package http1

import (
	"bytes"

	"github.com/headgate/headgate/internal/httpx"
)

// Limits bound a message's head.
type Limits struct {
	Head   int // bytes of the first line and the header together
	Fields int // header lines
}

// HeadScanner finds the end of a message's head (its first line and header, RFC 9112 section 2.1),
// however it arrives. What makes a head hopeless before it is complete is found at once: a
// line's wrong end, too many lines, another protocol. The zero value begins a request.
type HeadScanner struct {
	// FirstLine judges the first line as soon as it has arrived, without its end; nil: it is a request's.
	FirstLine func(line []byte) *Error

	line  int // where the line that has not ended begins
	lines int // that have ended
}

// Next looks at all that has arrived and returns the head's length once it is
// complete, or else 0.
func (s *HeadScanner) Next(data []byte, l Limits) (int, *Error) {
	for {
		i := bytes.IndexByte(data[s.line:], '\n')
		if i < 0 {
			if len(data) > l.Head {
				return 0, s.tooLarge(l.Head)
			}
			return 0, nil
		}
		end := s.line + i + 1
		if end > l.Head {
			return 0, s.tooLarge(l.Head)
		}
		line := data[s.line:end]
		if len(line) < 2 || line[len(line)-2] != '\r' {
			return 0, malformed("a line ends with a bare line feed")
		}
		line = line[:len(line)-2]
		s.line = end
		if s.lines++; s.lines == 1 {
			if err := s.first(line); err != nil {
				return 0, err
			}
			continue
		}
		if len(line) == 0 {
			return end, nil
		}
		if s.lines > l.Fields+1 {
			return 0, tooLarge("there are too many header lines")
		}
	}
}

// tooLarge is the refusal of a head of more than limit bytes: 414 where they are all of the request's line.
func (s *HeadScanner) tooLarge(limit int) *Error {
	if s.lines == 0 && s.FirstLine == nil {
		return targetTooLong(limit)
	}
	return HeadTooLarge(limit)
}

// Fields returns how many header lines a complete head has.
func (s *HeadScanner) Fields() int { return s.lines - 2 } // without the first line, and the empty one

func (s *HeadScanner) first(line []byte) *Error {
	if s.FirstLine != nil {
		return s.FirstLine(line)
	}
	return requestVersion(line)
}

// requestVersion looks at the end of a request line.
func requestVersion(line []byte) *Error {
	const version = " HTTP/1.1"
	at := len(line) - len(version)
	if at < 0 || !isVersion(line[at+1:]) || line[at] != ' ' {
		return malformed("the request line is malformed")
	}
	if line[at+len(" HTTP/")] != '1' {
		return &Error{505, "this version of HTTP is not served here"}
	}
	return nil
}

// isVersion reports whether s is a version of HTTP, RFC 9112 section 2.3.
func isVersion(s []byte) bool {
	return len(s) == len("HTTP/1.1") && string(s[:5]) == "HTTP/" && httpx.IsDigit(s[5]) && s[6] == '.' && httpx.IsDigit(s[7])
}
