package compress

import "github.com/headgate/headgate/internal/httpx"

// preferred are the codings that responses are sent in, the best first: it is chosen among those that a client likes alike.
var preferred = [...]httpx.Coding{httpx.Brotli, httpx.Zstd, httpx.Gzip}

// Negotiate chooses the coding for a client by the lines of its Accept-Encoding, RFC 9110 section 12.5.3: the one of the
// highest weight. It is Identity for a client that sends none, that accepts no other, or that prefers it. identity reports
// whether the client takes a response that is not encoded.
func Negotiate(lines []string) (c httpx.Coding, identity bool) {
	if len(lines) == 0 {
		return httpx.Identity, true
	}
	accepted := httpx.ParseAcceptEncoding(lines)
	plain, named := accepted.Quality(httpx.Identity)
	best := httpx.Quality(0)
	if named {
		best = max(plain-1, 0) // a coding of its weight wins
	}
	for _, coding := range preferred {
		if q, _ := accepted.Quality(coding); q > best {
			best, c = q, coding
		}
	}
	return c, plain > 0
}
