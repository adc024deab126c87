package logs

// interner keeps one copy of strings that come again and again, such as methods, hosts and user agents. Its memory is bounded:
// when it holds maxInterned strings it forgets them all.
type interner struct{ known map[string]string }

const (
	maxInterned    = 8192
	maxInternedLen = 512 // bytes; longer strings are not kept
)

// of returns the bytes as a string.
func (in *interner) of(b []byte) string {
	if len(b) == 0 {
		return ""
	}
	if s, ok := in.known[string(b)]; ok {
		return s
	}
	s := string(b)
	if len(s) > maxInternedLen {
		return s
	}
	if in.known == nil || len(in.known) >= maxInterned {
		in.known = make(map[string]string, 256)
	}
	in.known[s] = s
	return s
}
