package policies

import (
	"fmt"
	"math"
	"net/netip"
	"reflect"
	"strconv"
	"strings"
	"time"

	"go.yaml.in/yaml/v3"
)

// worded is a string type with a short list of values.
type worded interface{ words() []string }

// special decodes the types that have a way of their own to be written.
func (d *decoder) special(n *yaml.Node, v reflect.Value, path string) bool {
	switch to := v.Addr().Interface().(type) {
	case *Duration:
		if s, ok := d.text(n, "a duration like 30s", path); ok {
			parsed, problem := parseDuration(s)
			if problem != "" {
				d.report.errorf(d.position(n), "write it like 500ms, 90s, 15m, 12h or 7d", "%s %s", quote(s), problem)
			}
			*to = parsed
		}
	case *Size:
		if s, ok := d.text(n, "a size like 1MiB", path); ok {
			parsed, problem := parseSize(s)
			if problem != "" {
				d.report.errorf(d.position(n), "write it like 512KiB, 10MiB or 1GiB", "%s %s", quote(s), problem)
			}
			*to = parsed
		}
	case *netip.Prefix:
		if s, ok := d.text(n, "a network like 10.0.0.0/8", path); ok {
			*to = d.prefix(n, s)
		}
	case *Switch:
		if s, ok := d.text(n, "on or off", path); ok {
			if s != "on" && s != "off" {
				d.report.errorf(d.position(n), "write on or off", "%s is neither on nor off", quote(s))
			}
			*to = s == "on"
		}
	case *Count:
		d.count(n, to, path)
	case *FilePath:
		if s, ok := d.text(n, "a path", path); ok {
			*to = FilePath(relativeTo(d.dir, s))
		}
	case *AccessLog:
		if s, ok := d.text(n, "stdout, off or a path", path); ok {
			switch log := AccessLog(s); log {
			case AccessLogStdout, AccessLogStderr, AccessLogOff, "":
				*to = log
			default:
				*to = AccessLog(relativeTo(d.dir, s))
			}
		}
	case *CacheRef:
		if s, ok := d.text(n, "a cache's name or off", path); ok {
			if *to = CacheRef(s); s == "off" {
				*to = ""
			}
		}
	case *Names:
		if n.Kind == yaml.ScalarNode && n.Value == "off" {
			*to = Names{}
			return true
		}
		return false
	case *Secret:
		d.secret(n, maskSecret)
		if s, ok := d.text(n, "a secret", path); ok {
			*to = Secret(s)
		}
	case *RedisURL:
		d.secret(n, maskURL)
		if s, ok := d.text(n, "a URL", path); ok {
			*to = RedisURL(s)
		}
	case *UpstreamServer:
		if n.Kind != yaml.ScalarNode {
			return false
		}
		if s, ok := d.text(n, "a server's URL", path); ok {
			to.URL = s
		}
		d.source.places[join(path, "url")] = d.source.places[path]
	default:
		return false
	}
	return true
}

// text is a scalar's text with its variables expanded.
func (d *decoder) text(n *yaml.Node, want, path string) (string, bool) {
	if n.Kind != yaml.ScalarNode {
		d.report.errorf(d.position(n), "write "+want, "%s is %s", quote(path), describe(n))
		return "", false
	}
	if isNull(n) {
		d.noValue(n, path)
		return "", false
	}
	s, err := expand(n.Value, d.lookupEnv)
	if err != nil {
		d.report.errorf(d.position(n), err.mend, "%s", err.message)
		return "", false
	}
	return s, true
}

// word decodes a string, or one of a list of words.
func (d *decoder) word(n *yaml.Node, v reflect.Value, path string) {
	w, isWord := v.Interface().(worded)
	want := "a string"
	if isWord {
		want = strings.Join(w.words(), " or ")
	}
	s, ok := d.text(n, want, path)
	if !ok {
		return
	}
	if isWord && !contains(w.words(), s) {
		d.report.errorf(d.position(n), didYouMean(s, "values", w.words()), "%s is no value of %s", quote(s), quote(path))
		return
	}
	v.SetString(s)
}

// typed is the text of a scalar that must not be quoted, as then it would be a string; but where a
// variable was expanded the quotes may just be there for YAML's sake.
func (d *decoder) typed(n *yaml.Node, want string) (string, bool) {
	s, ok := d.text(n, want, "this")
	if !ok {
		return "", false
	}
	const quotes = yaml.SingleQuotedStyle | yaml.DoubleQuotedStyle | yaml.LiteralStyle | yaml.FoldedStyle
	if n.Style&quotes != 0 && !strings.Contains(n.Value, "${") {
		d.report.errorf(d.position(n), "remove the quotes", "%s is a string where %s is expected", quote(s), want)
		return "", false
	}
	return s, true
}

func (d *decoder) integer(n *yaml.Node, v reflect.Value) {
	s, ok := d.typed(n, "a whole number")
	if !ok {
		return
	}
	i, err := strconv.ParseInt(s, 10, 64)
	if err != nil || i > math.MaxInt32*1000 || i < -math.MaxInt32 {
		d.report.errorf(d.position(n), "write digits alone, like 100", "%s is not a whole number", quote(s))
		return
	}
	v.SetInt(i)
}

func (d *decoder) float(n *yaml.Node, v reflect.Value) {
	s, ok := d.typed(n, "a number")
	if !ok {
		return
	}
	f, err := strconv.ParseFloat(s, 64)
	if err != nil || math.IsNaN(f) || math.IsInf(f, 0) {
		d.report.errorf(d.position(n), "write it like 0.2", "%s is not a number", quote(s))
		return
	}
	v.SetFloat(f)
}

func (d *decoder) boolean(n *yaml.Node, v reflect.Value) {
	s, ok := d.typed(n, "true or false")
	if !ok {
		return
	}
	if s != "true" && s != "false" {
		d.report.errorf(d.position(n), "write true or false", "%s is neither true nor false", quote(s))
		return
	}
	v.SetBool(s == "true")
}

func (d *decoder) count(n *yaml.Node, to *Count, path string) {
	if n.Kind == yaml.SequenceNode {
		*to = Count{Mode: CountStatuses}
		d.list(n, reflect.ValueOf(&to.Statuses).Elem(), path)
		return
	}
	const want = "all, failed, or a list of statuses"
	s, ok := d.text(n, want, path)
	if !ok {
		return
	}
	if s != string(CountAll) && s != string(CountFailed) {
		mend := "write " + want + " like [401, 403]"
		if near, ok := nearest(s, list(CountAll, CountFailed)); ok {
			mend = "did you mean " + quote(near) + "?"
		}
		d.report.errorf(d.position(n), mend, "%s is not what a limit can count", quote(s))
		return
	}
	*to = Count{Mode: CountMode(s)}
}

// prefix reads a network, or one address, as IPv4 where it is IPv4 in IPv6's clothes.
func (d *decoder) prefix(n *yaml.Node, s string) netip.Prefix {
	p, err := netip.ParsePrefix(s)
	if err != nil {
		addr, err := netip.ParseAddr(s)
		if err != nil || addr.Zone() != "" {
			d.report.errorf(d.position(n), "write it like 10.0.0.0/8, 2001:db8::/32 or 192.0.2.7", "%s is not a network", quote(s))
			return netip.Prefix{}
		}
		p = netip.PrefixFrom(addr, addr.BitLen())
	}
	if p.Addr().Is4In6() {
		if p.Bits() < 96 {
			d.report.errorf(d.position(n), "write IPv4 networks like 10.0.0.0/8", "%s mixes IPv4 and IPv6", quote(s))
			return netip.Prefix{}
		}
		p = netip.PrefixFrom(p.Addr().Unmap(), p.Bits()-96)
	}
	if p.Masked() != p {
		d.report.warnf(d.position(n), fmt.Sprintf("write %s, which is what it means", p.Masked()), "%s has bits set beyond its length", quote(s))
	}
	return p.Masked()
}

// secret notes that a scalar must be masked when the policy is shown.
func (d *decoder) secret(n *yaml.Node, mask maskFunc) {
	if n.Kind == yaml.AliasNode {
		n = n.Alias
	}
	d.source.secrets[n] = mask
}

// parseDuration reads Go's durations with days besides. The problem is "" when there is none.
func parseDuration(s string) (d Duration, problem string) {
	rest := s
	var days time.Duration
	if head, tail, ok := strings.Cut(s, "d"); ok {
		n, err := strconv.ParseUint(head, 10, 63)
		if n > 3660 {
			return 0, "is longer than 10 years"
		}
		if err != nil {
			return 0, "is not a duration"
		}
		days, rest = time.Duration(n)*24*time.Hour, tail
		if rest == "" {
			rest = "0"
		}
	}
	parsed, err := time.ParseDuration(rest)
	switch {
	case err != nil && isDigits(s):
		return 0, "has no unit"
	case err != nil:
		return 0, "is not a duration"
	case parsed < 0 || strings.HasPrefix(rest, "-"):
		return 0, "is a negative duration"
	case parsed > maxDuration || days > maxDuration:
		return 0, "is longer than 10 years"
	}
	return Duration(days + parsed), ""
}

const maxDuration = 10 * 366 * 24 * time.Hour

// parseSize reads a number of bytes. The problem is "" when there is none.
func parseSize(s string) (size Size, problem string) {
	units := []struct {
		suffix string
		bytes  int64
	}{{"KiB", 1 << 10}, {"MiB", 1 << 20}, {"GiB", 1 << 30}, {"TiB", 1 << 40}}
	digits, unit := s, int64(1)
	for _, u := range units {
		if head, ok := strings.CutSuffix(s, u.suffix); ok {
			digits, unit = strings.TrimSpace(head), u.bytes
		}
	}
	n, err := strconv.ParseInt(digits, 10, 64)
	switch {
	case err != nil || !isDigits(digits):
		return 0, "is not a size"
	case n > (1<<50)/unit:
		return 0, "is larger than a pebibyte"
	}
	return Size(n * unit), ""
}

func isDigits(s string) bool {
	for _, c := range []byte(s) {
		if c < '0' || c > '9' {
			return false
		}
	}
	return s != ""
}

func contains(words []string, s string) bool {
	for _, w := range words {
		if w == s {
			return true
		}
	}
	return false
}
