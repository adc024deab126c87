package httpx

import "strings"

// WildcardOrigin stands for the origins of all names below a domain, of one label or more.
type WildcardOrigin struct{ prefix, suffix string }

// ParseWildcardOrigin reads an origin such as https://*.example.com; ok is false for any other.
func ParseWildcardOrigin(s string) (w WildcardOrigin, ok bool) {
	scheme, rest, ok := strings.Cut(s, "://*.")
	if !ok {
		return w, false
	}
	if _, ok := NormalizeOrigin(scheme + "://" + rest); !ok {
		return w, false
	}
	return WildcardOrigin{scheme + "://", "." + rest}, true
}

// Matches reports whether an origin, as browsers send it, is one of those.
func (w WildcardOrigin) Matches(origin string) bool {
	if len(origin) <= len(w.prefix)+len(w.suffix) || !strings.HasPrefix(origin, w.prefix) || !strings.HasSuffix(origin, w.suffix) {
		return false
	}
	return ValidHostName(origin[len(w.prefix) : len(origin)-len(w.suffix)])
}

// TopLevel reports whether the domain has one label alone, and is not localhost.
func (w WildcardOrigin) TopLevel() bool {
	domain, _, _ := strings.Cut(w.suffix[1:], ":")
	return !strings.Contains(domain, ".") && domain != "localhost"
}
