package httpx

import "strings"

// Quality is a weight in thousandths (RFC 9110 section 12.4.2): 1000 where none is given, 0 for "not acceptable".
type Quality int

// ParseQuality reads a qvalue: "0" or "1" with at most three decimals.
func ParseQuality(s string) (q Quality, ok bool) {
	if s == "" || s[0] != '0' && s[0] != '1' || len(s) > len("0.000") || len(s) > 1 && s[1] != '.' {
		return 0, false
	}
	q = Quality(s[0]-'0') * 1000
	unit := Quality(100)
	for i := 2; i < len(s); i++ {
		if !IsDigit(s[i]) {
			return 0, false
		}
		q += Quality(s[i]-'0') * unit
		unit /= 10
	}
	return q, q <= 1000
}

// Weighted takes a member of Accept or a like field apart into its value, without parameters, and its weight. It is not
// ok where the weight is malformed: such a member says nothing.
func Weighted(member string) (value string, q Quality, ok bool) {
	value, parameters, more := cutUnquoted(member, ';')
	for more {
		var parameter string
		parameter, parameters, more = cutUnquoted(parameters, ';')
		name, weight, _ := strings.Cut(TrimOWS(parameter), "=")
		if strings.EqualFold(name, "q") {
			q, ok = ParseQuality(weight)
			return TrimOWS(value), q, ok
		}
	}
	return TrimOWS(value), 1000, true
}
