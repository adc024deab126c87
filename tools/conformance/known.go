package main

// known says of cases that Headgate does not pass why that is so. What it says
// is about one of three things: a rule of ours that is stricter than the suite,
// the RFC's word against the suite's, or a case of the version on npm (0.4.5,
// written while RFC 9111 was a draft) that the suite itself has changed since.
var known = func() map[string]string {
	const (
		setCookie = "ours: what has a Set-Cookie is one user's, it is never stored"
		partial   = "ours: a 206 is not stored; ranges are answered from whole responses"
		age       = "changed since: by RFC 9111 section 5.1 the first member counts, and what is no number is ignored"
		standIn   = "changed since: the 504 is of the gateway's own and has no Server-Request-Count, which the case takes for a hit"
		surrogate = "withdrawn since, for CDN-Cache-Control (RFC 9213): that alone is on our target list"
		no304     = "changed since, to a question: RFC 9111 section 3.2 excepts Content-Length alone"
	)
	why := map[string]string{
		"headers-store-Set-Cookie":             setCookie,
		"other-set-cookie":                     setCookie,
		"304-etag-update-response-Set-Cookie":  setCookie,
		"headers-store-Transfer-Encoding":      "RFC 9112 section 6.1: a transfer coding that nobody asked for cannot be decoded; it is 502",
		"conditional-lm-fresh-no-lm":           "RFC 9111 section 4.3.2: without Last-Modified it is Date that counts, which is later than what the client has: 200",
		"vary-normalise-lang-select":           "RFC 9111 section 4.1: the two Accept-Language fields do not mean the same",
		"method-POST":                          "ours: no answer to a POST is stored; it would have to survive the purge that the POST is, and so could survive others",
		"304-etag-update-response-Content-MD5": no304,
		"304-etag-update-response-ETag":        "changed since, to a question: RFC 9111 section 4.3.4, a 304 with another strong tag is about something else",
	}
	for _, id := range []string{"reuse-partial", "reuse-partial-byterange", "reuse-partial-absent", "reuse-partial-suffix", "complete"} {
		why["partial-store-partial-"+id] = partial
	}
	for _, id := range []string{"nonnumeric", "negative", "float", "prefix-twoline", "dup-0", "dup-0-twoline", "dup-old", "parameter", "numeric-parameter"} {
		why["age-parse-"+id] = age
	}
	for _, id := range []string{"must-revalidate", "proxy-revalidate", "no-cache", "s-maxage=2"} {
		why["stale-close-"+id] = standIn
	}
	for _, id := range []string{
		"max-age", "max-age-max", "max-age-max-plus", "max-age-me-target", "max-age-other-target", "max-age-age",
		"max-age-0", "max-age-extension", "max-age-case-insensitive", "max-age-expires", "max-age-cc-max-age-invalid-expires",
		"max-age-0-expires", "max-age-short-cc-max-age", "max-age-long-cc-max-age", "no-store-cc-fresh", "fresh-cc-nostore"} {
		why["surrogate-"+id] = surrogate
	}
	return why
}()
