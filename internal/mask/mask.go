// Package mask hides secrets in what people are shown.
package mask

import (
	"net/url"
	"strings"
)

// Secret stands where a secret would.
const Secret = "***"

// URL masks the user information and every query value that could be a
// secret in a URL, or in several with commas between them. It looks at text
// rather than parse, as a URL that does not parse must not leak its password either.
func URL(s string) string {
	scheme, rest, ok := strings.Cut(s, "://")
	if !ok {
		if s == "" {
			return ""
		}
		return Secret
	}
	at := strings.LastIndexByte(rest, '@')
	if at >= 0 {
		user := rest[:at]
		if name, _, found := strings.Cut(user, ":"); found {
			user = name + ":" + Secret
		} else {
			user = Secret
		}
		rest = user + rest[at:]
	}
	if head, query, found := strings.Cut(rest, "?"); found {
		pairs := strings.Split(query, "&")
		for i, pair := range pairs {
			name, _, _ := strings.Cut(pair, "=")
			if plain, err := url.QueryUnescape(name); err != nil || SecretName(plain) {
				pairs[i] = name + "=" + Secret
			}
		}
		rest = head + "?" + strings.Join(pairs, "&")
	}
	return scheme + "://" + rest
}

// SecretName reports whether a parameter or header of this name is likely to hold a secret.
func SecretName(name string) bool {
	name = strings.ToLower(name)
	for _, part := range []string{"pass", "secret", "token", "auth", "key", "cookie", "credential"} {
		if strings.Contains(name, part) {
			return true
		}
	}
	return false
}
