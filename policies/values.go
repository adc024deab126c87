package policies

import (
	"log/slog"
	"net/url"
	"strconv"
	"strings"
	"time"
)

// Strings is one string or a list of them.
type Strings []string

// Names is one name, a list of names, or off. After loading, nil and empty mean the same: none.
type Names []string

// CacheRef names a cache rule. After loading "" means that nothing is cached.
type CacheRef string

// FilePath is a path in the file system. Loading makes a relative one start at the policy file.
type FilePath string

// AccessLog is stdout, stderr, off, or a file's path.
type AccessLog string

// Where an access log goes that is not a file.
const (
	AccessLogStdout AccessLog = "stdout"
	AccessLogStderr AccessLog = "stderr"
	AccessLogOff    AccessLog = "off"
)

// Switch is on (true) or off.
type Switch bool

// Duration is a time.Duration that is written as Go's (90s, 1m30s, 12h), with days besides (7d, 1d12h).
type Duration time.Duration

// Std returns the duration as the standard library's.
func (d Duration) Std() time.Duration { return time.Duration(d) }

// String writes the duration as a policy would: 90s is 1m30s, 168h is 7d.
func (d Duration) String() string {
	const day = Duration(24 * time.Hour)
	if d >= day && d%day == 0 {
		return strconv.FormatInt(int64(d/day), 10) + "d"
	}
	s := time.Duration(d).String()
	if strings.HasSuffix(s, "m0s") {
		s = strings.TrimSuffix(s, "0s")
	}
	if strings.HasSuffix(s, "h0m") {
		s = strings.TrimSuffix(s, "0m")
	}
	return s
}

// MarshalText writes the duration as String does.
func (d Duration) MarshalText() ([]byte, error) { return []byte(d.String()), nil }

// Size is a number of bytes, written 512KiB, 1MiB, 2GiB, or as a plain number.
type Size int64

// Bytes returns the size as a number of bytes.
func (s Size) Bytes() int64 { return int64(s) }

// String writes the size as a policy would, in the largest unit that divides it.
func (s Size) String() string {
	unit := ""
	for _, larger := range []string{"KiB", "MiB", "GiB", "TiB"} {
		if s == 0 || s%1024 != 0 {
			break
		}
		s, unit = s/1024, larger
	}
	return strconv.FormatInt(int64(s), 10) + unit
}

// MarshalText writes the size as String does.
func (s Size) MarshalText() ([]byte, error) { return []byte(s.String()), nil }

// masked stands where a secret would.
const masked = "***"

// Secret is a string that never shows itself: not when printed, logged or marshalled.
type Secret string

// Reveal returns the secret itself.
func (s Secret) Reveal() string { return string(s) }

// String hides the secret, and says only whether there is one.
func (s Secret) String() string {
	if s == "" {
		return ""
	}
	return masked
}

// GoString hides the secret from %#v.
func (s Secret) GoString() string { return s.String() }

// LogValue hides the secret from slog.
func (s Secret) LogValue() slog.Value { return slog.StringValue(s.String()) }

// MarshalText hides the secret from encoders.
func (s Secret) MarshalText() ([]byte, error) { return []byte(s.String()), nil }

// RedisURL is the address of a Redis, whose password never shows itself.
type RedisURL string

// Reveal returns the URL with its password.
func (u RedisURL) Reveal() string { return string(u) }

// String returns the URL with its password masked.
func (u RedisURL) String() string { return maskPasswords(string(u)) }

// GoString hides the password from %#v.
func (u RedisURL) GoString() string { return u.String() }

// LogValue hides the password from slog.
func (u RedisURL) LogValue() slog.Value { return slog.StringValue(u.String()) }

// MarshalText hides the password from encoders.
func (u RedisURL) MarshalText() ([]byte, error) { return []byte(u.String()), nil }

// maskPasswords masks the user information and every query value that could be a
// secret in a URL, or in several with commas between them. It looks at text
// rather than parse, as a URL that does not parse must not leak its password either.
func maskPasswords(s string) string {
	scheme, rest, ok := strings.Cut(s, "://")
	if !ok {
		if s == "" {
			return ""
		}
		return masked
	}
	at := strings.LastIndexByte(rest, '@')
	if at >= 0 {
		user := rest[:at]
		if name, _, found := strings.Cut(user, ":"); found {
			user = name + ":" + masked
		} else {
			user = masked
		}
		rest = user + rest[at:]
	}
	if head, query, found := strings.Cut(rest, "?"); found {
		pairs := strings.Split(query, "&")
		for i, pair := range pairs {
			name, _, _ := strings.Cut(pair, "=")
			if plain, err := url.QueryUnescape(name); err != nil || secretName(plain) {
				pairs[i] = name + "=" + masked
			}
		}
		rest = head + "?" + strings.Join(pairs, "&")
	}
	return scheme + "://" + rest
}

// secretName reports whether a parameter or header of this name is likely to hold a secret.
func secretName(name string) bool {
	name = strings.ToLower(name)
	for _, part := range []string{"pass", "secret", "token", "auth", "key", "cookie", "credential"} {
		if strings.Contains(name, part) {
			return true
		}
	}
	return false
}
