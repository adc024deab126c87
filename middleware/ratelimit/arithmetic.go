package ratelimit

import "math/bits"

// mulDiv returns the quotient and the remainder of (a*b + add) / c, exactly,
// the product being up to 128 bits wide. The algorithms scale by windows in
// microseconds, where a product soon exceeds 64 bits: a million requests a day
// is 8.6e16. lua/common.lua has a twin that works in doubles.
//
// a and b are not negative, c is positive, add may be negative but not below
// -a*b, and the quotient fits an int64.
func mulDiv(a, b, add, c int64) (quotient, remainder int64) {
	hi, lo := bits.Mul64(uint64(a), uint64(b))
	var carry uint64
	if add >= 0 {
		lo, carry = bits.Add64(lo, uint64(add), 0)
		hi += carry
	} else {
		lo, carry = bits.Sub64(lo, uint64(-add), 0)
		hi -= carry
	}
	q, r := bits.Div64(hi, lo, uint64(c))
	return int64(q), int64(r)
}
