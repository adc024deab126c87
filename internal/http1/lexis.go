package http1

import (
	"math"

	"github.com/headgate/headgate/internal/httpx"
)

// IsClean reports whether s has no control character but tabs, as field values must (RFC 9110
// section 5.5). It looks at eight bytes at a time.
func IsClean(s string) bool {
	const ones, high = 0x0101010101010101, 0x8080808080808080
	for len(s) >= 8 {
		v := uint64(s[0]) | uint64(s[1])<<8 | uint64(s[2])<<16 | uint64(s[3])<<24 |
			uint64(s[4])<<32 | uint64(s[5])<<40 | uint64(s[6])<<48 | uint64(s[7])<<56 // one load
		low := (v - ones*' ') &^ v // a byte below a space, or behind one
		del := v ^ ones*0x7f
		if (low|(del-ones)&^del)&high != 0 && !isCleanSlow(s[:8]) {
			return false
		}
		s = s[8:]
	}
	return isCleanSlow(s)
}

func isCleanSlow(s string) bool {
	for i := range len(s) {
		if c := s[i]; c < ' ' && c != '\t' || c == 0x7f {
			return false
		}
	}
	return true
}

// resembles reports whether a careless reader takes name for this field: one that ignores case, the kind of
// separator between words (as CGI does), or what stands around the name. want is in lower case.
func resembles(name, want string) bool {
	for len(name) > len(want) && !httpx.IsAlnum(name[0]) {
		name = name[1:]
	}
	for len(name) > len(want) && !httpx.IsAlnum(name[len(name)-1]) {
		name = name[:len(name)-1]
	}
	if len(name) != len(want) {
		return false
	}
	for i := range len(name) {
		c := name[i]
		if httpx.IsAlnum(c) {
			c |= 0x20 // digits have that bit set already
		} else {
			c = '-'
		}
		if c != want[i] {
			return false
		}
	}
	return true
}

// ParseLength reads a Content-Length: digits alone, RFC 9110 section 8.6.
func ParseLength(s string) (n int64, ok bool) {
	for i := range len(s) {
		c := s[i]
		if !httpx.IsDigit(c) || n > (math.MaxInt64-9)/10 {
			return 0, false
		}
		n = n*10 + int64(c-'0')
	}
	return n, len(s) > 0
}
