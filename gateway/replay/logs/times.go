package logs

import (
	"errors"
	"fmt"
	"math"
	"strconv"
	"strings"
	"time"
)

// errTime is the error of a time that no parser reads, or that is out of bounds.
var errTime = errors.New("no time that can be read")

// maxMicros is the end of 2199, in microseconds since 1970. Later times are refused, so that sums of times and
// durations cannot overflow.
const maxMicros = 7_258_118_400_000_000 - 1

// micros returns the microseconds since 1970.
func micros(t time.Time) (int64, error) {
	us := t.UnixMicro()
	if us < 0 || us > maxMicros {
		return 0, errTime
	}
	return us, nil
}

const months = "JanFebMarAprMayJunJulAugSepOctNovDec"

// parseCLFTime reads 02/Jan/2006:15:04:05 -0700.
func parseCLFTime(b []byte) (int64, error) {
	if len(b) != len("02/Jan/2006:15:04:05 -0700") ||
		b[2] != '/' || b[6] != '/' || b[11] != ':' || b[14] != ':' || b[17] != ':' || b[20] != ' ' {
		return 0, errTime
	}
	month := strings.Index(months, string(b[3:6]))
	n, ok := digits(b[0:2], b[7:11], b[12:14], b[15:17], b[18:20], b[22:24], b[24:26])
	if month < 0 || month%3 != 0 || !ok || (b[21] != '+' && b[21] != '-') {
		return 0, errTime
	}
	day, year, hour, minute, second := n[0], n[1], n[2], n[3], n[4]
	t := time.Date(year, time.Month(month/3+1), day, hour, minute, second, 0, time.UTC)
	if t.Day() != day || hour > 23 || minute > 59 || second > 60 || n[5] > 23 || n[6] > 59 {
		return 0, errTime
	}
	offset := time.Duration(n[5])*time.Hour + time.Duration(n[6])*time.Minute
	if b[21] == '-' {
		offset = -offset
	}
	return micros(t.Add(-offset))
}

// digits reads up to seven numbers, and fails on anything but decimal digits.
func digits(fields ...[]byte) (n [7]int, ok bool) {
	for i, f := range fields {
		for _, c := range f {
			if c < '0' || c > '9' {
				return n, false
			}
			n[i] = n[i]*10 + int(c-'0')
		}
	}
	return n, true
}

// parseRFC3339 reads 2006-01-02T15:04:05.000Z, with any fraction and offset,
// and with the offset written 0200 as well.
func parseRFC3339(b []byte) (int64, error) {
	t, err := time.Parse(time.RFC3339Nano, string(b))
	if err != nil {
		if t, err = time.Parse("2006-01-02T15:04:05Z0700", string(b)); err != nil {
			return 0, errTime
		}
	}
	return micros(t)
}

// parseUnix reads seconds since 1970 with a fraction, as nginx' $msec and
// Caddy's ts are. A number above 1e11 is taken for milliseconds.
func parseUnix(b []byte) (int64, error) {
	f, err := strconv.ParseFloat(string(b), 64)
	if err != nil || math.IsNaN(f) || f < 0 {
		return 0, errTime
	}
	if f > 1e11 { // in seconds the year 5138, in milliseconds 1973
		f /= 1000
	}
	if f > maxMicros/1e6 {
		return 0, errTime
	}
	return int64(math.Round(f * 1e6)), nil
}

// parseAnyTime reads all forms of a time that JSON logs use.
func parseAnyTime(v value) (int64, error) {
	if v.kind == kindNumber {
		return parseUnix(v.raw)
	}
	b := v.bytes()
	if len(b) > 2 && b[2] == '/' {
		return parseCLFTime(b)
	}
	if us, err := parseRFC3339(b); err == nil {
		return us, nil
	}
	return parseUnix(b)
}

// parseSeconds reads a duration in seconds, up to 1e6.
func parseSeconds(b []byte) (time.Duration, error) {
	f, err := strconv.ParseFloat(string(b), 64)
	if err != nil || math.IsNaN(f) || f < 0 || f > 1e6 {
		return 0, fmt.Errorf("a time span that is no number of seconds: %s", Excerpt(b))
	}
	return time.Duration(f * float64(time.Second)), nil
}

// arrivedBefore sets the duration, and turns At from the time at which the response was complete into that at which
// the request arrived.
func (r *Record) arrivedBefore(took time.Duration) {
	r.Took = took
	r.At = max(0, r.At-took.Microseconds())
}

// parseMillis reads a duration in milliseconds.
func parseMillis(b []byte) (time.Duration, error) {
	ms, err := strconv.ParseFloat(string(b), 64)
	if err != nil || math.IsNaN(ms) {
		return 0, fmt.Errorf("a duration that is no number of milliseconds: %s", Excerpt(b))
	}
	return durationMillis(ms), nil
}

// durationMillis converts milliseconds, and moves what is negative or longer than a month into that range.
func durationMillis(ms float64) time.Duration {
	const month = 31 * 24 * float64(time.Hour)
	return time.Duration(min(max(ms*float64(time.Millisecond), 0), month))
}
