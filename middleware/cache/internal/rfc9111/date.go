package rfc9111

import (
	"strings"
	"time"
)

// The three forms of RFC 9110 section 5.6.7. The first is what senders must
// write; a recipient has to read all of them.
const (
	imfFixdate  = "Mon, 02 Jan 2006 15:04:05 GMT"
	asctimeDate = "Mon Jan _2 15:04:05 2006"
)

var (
	dayNames     = [...]string{"sunday", "monday", "tuesday", "wednesday", "thursday", "friday", "saturday"}
	monthNames   = [...]string{"jan", "feb", "mar", "apr", "may", "jun", "jul", "aug", "sep", "oct", "nov", "dec"}
	daysPerMonth = [...]int{31, 29, 31, 30, 31, 30, 31, 31, 30, 31, 30, 31}
)

// ParseDate reads an HTTP-date as RFC 9110 section 5.6.7 writes it, and not
// otherwise: one space here, two digits there, GMT as the zone. Go's
// http.ParseTime accepts dates that the grammar does not (a one-digit hour, a
// month out of its place), and a cache that accepts a date which another
// recipient refuses disagrees with it on what is fresh. Letters match in any
// case, which RFC 9111 section 4.2 asks of caches. now resolves the century of
// the two-digit year of the obsolete RFC 850 form.
func ParseDate(s string, now time.Time) (time.Time, bool) {
	switch comma := strings.IndexByte(s, ','); {
	case comma == 3:
		return parseIMFFixdate(s)
	case comma > 3:
		return parseRFC850Date(s, comma, now)
	default:
		return parseAsctimeDate(s)
	}
}

// parseIMFFixdate reads "Sun, 06 Nov 1994 08:49:37 GMT".
func parseIMFFixdate(s string) (time.Time, bool) {
	if len(s) != len(imfFixdate) || dayIndex(s[:3], true) < 0 || s[4] != ' ' || s[7] != ' ' || s[11] != ' ' ||
		s[16] != ' ' || !strings.EqualFold(s[25:], " GMT") {
		return time.Time{}, false
	}
	day, ok1 := digits(s[5:7])
	year, ok2 := digits(s[12:16])
	if !ok1 || !ok2 {
		return time.Time{}, false
	}
	return makeDate(year, monthIndex(s[8:11]), day, s[17:25])
}

// parseRFC850Date reads "Sunday, 06-Nov-94 08:49:37 GMT".
func parseRFC850Date(s string, comma int, now time.Time) (time.Time, bool) {
	rest := s[comma+1:]
	if dayIndex(s[:comma], false) < 0 || len(rest) != len(" 06-Nov-94 08:49:37 GMT") || rest[0] != ' ' ||
		rest[3] != '-' || rest[7] != '-' || rest[10] != ' ' || !strings.EqualFold(rest[19:], " GMT") {
		return time.Time{}, false
	}
	day, ok1 := digits(rest[1:3])
	year, ok2 := digits(rest[8:10])
	if !ok1 || !ok2 {
		return time.Time{}, false
	}
	// A date that appears to be more than 50 years in the future is the most
	// recent year in the past with the same two last digits.
	year += now.UTC().Year() / 100 * 100
	date, ok := makeDate(year, monthIndex(rest[4:7]), day, rest[11:19])
	if ok && date.After(now.AddDate(50, 0, 0)) {
		return makeDate(year-100, monthIndex(rest[4:7]), day, rest[11:19])
	}
	return date, ok
}

// parseAsctimeDate reads "Sun Nov  6 08:49:37 1994".
func parseAsctimeDate(s string) (time.Time, bool) {
	if len(s) != len(asctimeDate) || dayIndex(s[:3], true) < 0 || s[3] != ' ' || s[7] != ' ' || s[10] != ' ' || s[19] != ' ' {
		return time.Time{}, false
	}
	dayText := s[8:10]
	if dayText[0] == ' ' {
		dayText = dayText[1:]
	}
	day, ok1 := digits(dayText)
	year, ok2 := digits(s[20:24])
	if !ok1 || !ok2 {
		return time.Time{}, false
	}
	return makeDate(year, monthIndex(s[4:7]), day, s[11:19])
}

func makeDate(year, month, day int, clock string) (time.Time, bool) {
	if month < 0 || day < 1 || day > daysPerMonth[month] || len(clock) != 8 || clock[2] != ':' || clock[5] != ':' {
		return time.Time{}, false
	}
	hour, ok1 := digits(clock[:2])
	minute, ok2 := digits(clock[3:5])
	second, ok3 := digits(clock[6:])
	// A leap second is written as 60; time.Date carries it over.
	if !ok1 || !ok2 || !ok3 || hour > 23 || minute > 59 || second > 60 {
		return time.Time{}, false
	}
	date := time.Date(year, time.Month(month+1), day, hour, minute, second, 0, time.UTC)
	if date.Day() != day && second != 60 { // 29 February of a common year
		return time.Time{}, false
	}
	return date, true
}

func dayIndex(s string, short bool) int {
	for i, name := range dayNames {
		if short {
			name = name[:3]
		}
		if strings.EqualFold(s, name) {
			return i
		}
	}
	return -1
}

func monthIndex(s string) int {
	for i, name := range monthNames {
		if strings.EqualFold(s, name) {
			return i
		}
	}
	return -1
}

// digits reads a short run of decimal digits and nothing else.
func digits(s string) (int, bool) {
	n := 0
	for i := 0; i < len(s); i++ {
		if s[i] < '0' || s[i] > '9' {
			return 0, false
		}
		n = n*10 + int(s[i]-'0')
	}
	return n, len(s) > 0
}

func FormatDate(t time.Time) string { return t.UTC().Format(imfFixdate) }
