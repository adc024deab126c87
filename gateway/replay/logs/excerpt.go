package logs

import "strconv"

// Excerpt returns the first 80 bytes of a line in quotes, with what is not printable escaped, so that it is safe to show on a terminal.
func Excerpt(line []byte) string {
	const most = 80
	s := string(line)
	if len(s) > most {
		s = s[:most] + "…"
	}
	return strconv.Quote(s)
}
