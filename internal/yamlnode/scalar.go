package yamlnode

import (
	"encoding"
	"errors"
	"fmt"
	"math"
	"net/netip"
	"reflect"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/headgate/headgate/internal/suggest"
	"github.com/headgate/headgate/middleware/problem"
	"go.yaml.in/yaml/v3"
)

// special decodes what has a way of its own to be written.
func (d *Decoder) special(n *yaml.Node, v reflect.Value, path string, o Options) bool {
	if to, ok := v.Addr().Interface().(*netip.Prefix); ok {
		if s, ok := d.text(n, "a network like 10.0.0.0/8", path); ok {
			*to = d.prefix(n, s)
		}
		return true
	}
	if f, ok := tagged(v.Type(), "list"); ok && n.Kind == yaml.SequenceNode {
		d.list(n, v.FieldByIndex(f.Index), path, parseOptions(f.Tag))
		return true
	}
	if f, ok := tagged(v.Type(), "self"); ok && n.Kind == yaml.ScalarNode {
		name, _, _ := strings.Cut(f.Tag.Get("yaml"), ",")
		own := problem.Key(path, name)
		d.Source.places[own] = d.Source.places[path]
		if its := parseOptions(f.Tag); its.Want != "" {
			o = its
		}
		d.word(n, v.FieldByIndex(f.Index), path, o)
		return true
	}
	if v.Kind() == reflect.Slice && o.Has("off") && n.Kind == yaml.ScalarNode && n.Value == "off" {
		v.Set(reflect.MakeSlice(v.Type(), 0, 0))
		return true
	}
	if to, ok := v.Addr().Interface().(encoding.TextUnmarshaler); ok {
		d.ownText(n, to, path, o)
		return true
	}
	if v.Kind() == reflect.Slice && v.Type().Elem().Kind() == reflect.Uint8 {
		text := reflect.New(reflect.TypeFor[string]()).Elem()
		d.word(n, text, path, o)
		v.SetBytes([]byte(text.String()))
		return true
	}
	return false
}

// isText reports whether values of a type are written as one scalar in a way of their own.
func isText(t reflect.Type) bool {
	if t.Kind() != reflect.Pointer {
		t = reflect.PointerTo(t)
	}
	return t.Implements(reflect.TypeFor[encoding.TextUnmarshaler]())
}

// ownText decodes a type that reads its own text. It says what is wrong by a [problem.Problem].
func (d *Decoder) ownText(n *yaml.Node, to encoding.TextUnmarshaler, path string, o Options) {
	s, ok := d.text(n, o.want("a string"), path)
	if !ok {
		return
	}
	err := to.UnmarshalText([]byte(s))
	var p problem.Problem
	switch {
	case errors.As(err, &p):
		d.Report.Errorf(d.Position(n), p.Mend, "%s", p.Text(path))
	case err != nil:
		d.Report.Errorf(d.Position(n), "mend it", "%s: %v", problem.Quote(s), err)
	}
}

func (o Options) want(otherwise string) string {
	if o.Want != "" {
		return o.Want
	}
	return otherwise
}

// scalar decodes what is written as one scalar.
func (d *Decoder) scalar(n *yaml.Node, v reflect.Value, path string, o Options) {
	switch {
	case v.Type() == reflect.TypeFor[time.Duration]():
		d.quantity(n, v, path, o, "a duration like 30s", "write it like 500ms, 90s, 15m, 12h or 7d", parseDuration)
	case o.Has("size"):
		d.quantity(n, v, path, o, "a size like 1MiB", "write it like 512KiB, 10MiB or 1GiB", parseSize)
	case o.Has("switch"):
		d.onOff(n, v, path)
	case v.Kind() == reflect.String:
		d.word(n, v, path, o)
	case v.CanInt():
		d.integer(n, v)
	case v.CanFloat():
		d.float(n, v)
	case v.Kind() == reflect.Bool:
		d.boolean(n, v)
		if o.Has("not") {
			v.SetBool(!v.Bool())
		}
	default:
		panic("yamlnode: no decoding for " + v.Type().String())
	}
	if o.Has("none") {
		d.none(n, v)
	}
}

// none turns a written 0 into -1, which is none where zero stands for the default.
func (d *Decoder) none(n *yaml.Node, v reflect.Value) {
	switch {
	case v.CanInt() && v.Int() < 0 || v.CanFloat() && v.Float() < 0:
		d.Report.Errorf(d.Position(n), "write 0 for none", "%s is negative", problem.Quote(n.Value))
	case v.IsZero() && v.CanInt():
		v.SetInt(-1)
	case v.IsZero():
		v.SetFloat(-1)
	}
}

// quantity decodes a number with a unit.
func (d *Decoder) quantity(n *yaml.Node, v reflect.Value, path string, o Options, want, mend string, parse func(string) (int64, string)) {
	s, ok := d.text(n, o.want(want), path)
	if !ok {
		return
	}
	if o.Has("off") && s == "off" {
		s = "0" // none makes -1 of it
	}
	parsed, wrong := parse(s)
	if wrong != "" {
		d.Report.Errorf(d.Position(n), mend, "%s %s", problem.Quote(s), wrong)
	}
	v.SetInt(parsed)
}

func (d *Decoder) onOff(n *yaml.Node, v reflect.Value, path string) {
	s, ok := d.text(n, "on or off", path)
	if !ok {
		return
	}
	if s != "on" && s != "off" {
		d.Report.Errorf(d.Position(n), "write on or off", "%s is neither on nor off", problem.Quote(s))
	}
	v.SetBool(s == "on")
}

// text is a scalar's text with its variables expanded.
func (d *Decoder) text(n *yaml.Node, want, path string) (string, bool) {
	if n.Kind != yaml.ScalarNode {
		d.Report.Errorf(d.Position(n), "write "+want, "%s is %s", problem.Quote(path), Describe(n))
		return "", false
	}
	if isNull(n) {
		d.noValue(n, path)
		return "", false
	}
	s, err := expand(n.Value, d.LookupEnv)
	if err != nil {
		d.Report.Errorf(d.Position(n), err.mend, "%s", err.message)
		return "", false
	}
	return s, true
}

// word decodes a string, or one of a list of words.
func (d *Decoder) word(n *yaml.Node, v reflect.Value, path string, o Options) {
	w, isWord := v.Interface().(interface{ Values() []string })
	want := o.want("a string")
	if isWord {
		want = strings.Join(w.Values(), " or ")
	}
	switch {
	case o.Has("secret"):
		d.secret(n, maskSecret)
	case o.Has("url"):
		d.secret(n, maskURL)
	}
	s, ok := d.text(n, want, path)
	if !ok {
		return
	}
	if isWord && !slices.Contains(w.Values(), s) {
		d.Report.Errorf(d.Position(n), suggest.DidYouMean(s, "values", w.Values()), "%s is no value of %s", problem.Quote(s), problem.Quote(path))
		return
	}
	if words, ok := o.path(); ok && !slices.Contains(words, s) {
		s = relativeTo(d.dir, s)
	}
	if o.Has("off") && s == "off" {
		s = ""
	}
	v.SetString(s)
}

// typed is the text of a scalar that must not be quoted, as then it would be a string; but where a
// variable was expanded the quotes may just be there for YAML's sake.
func (d *Decoder) typed(n *yaml.Node, want string) (string, bool) {
	s, ok := d.text(n, want, "this")
	if !ok {
		return "", false
	}
	const quotes = yaml.SingleQuotedStyle | yaml.DoubleQuotedStyle | yaml.LiteralStyle | yaml.FoldedStyle
	if n.Style&quotes != 0 && !strings.Contains(n.Value, "${") {
		d.Report.Errorf(d.Position(n), "remove the quotes", "%s is a string where %s is expected", problem.Quote(s), want)
		return "", false
	}
	return s, true
}

func (d *Decoder) integer(n *yaml.Node, v reflect.Value) {
	s, ok := d.typed(n, "a whole number")
	if !ok {
		return
	}
	i, err := strconv.ParseInt(s, 10, 64)
	if err != nil || i > math.MaxInt32*1000 || i < -math.MaxInt32 {
		d.Report.Errorf(d.Position(n), "write digits alone, like 100", "%s is not a whole number", problem.Quote(s))
		return
	}
	v.SetInt(i)
}

func (d *Decoder) float(n *yaml.Node, v reflect.Value) {
	s, ok := d.typed(n, "a number")
	if !ok {
		return
	}
	f, err := strconv.ParseFloat(s, 64)
	if err != nil || math.IsNaN(f) || math.IsInf(f, 0) {
		d.Report.Errorf(d.Position(n), "write it like 0.2", "%s is not a number", problem.Quote(s))
		return
	}
	v.SetFloat(f)
}

func (d *Decoder) boolean(n *yaml.Node, v reflect.Value) {
	s, ok := d.typed(n, "true or false")
	if !ok {
		return
	}
	if s != "true" && s != "false" {
		d.Report.Errorf(d.Position(n), "write true or false", "%s is neither true nor false", problem.Quote(s))
		return
	}
	v.SetBool(s == "true")
}

// prefix reads a network, or one address, as IPv4 where it is IPv4 in IPv6's clothes.
func (d *Decoder) prefix(n *yaml.Node, s string) netip.Prefix {
	p, err := netip.ParsePrefix(s)
	if err != nil {
		addr, err := netip.ParseAddr(s)
		if err != nil || addr.Zone() != "" {
			d.Report.Errorf(d.Position(n), "write it like 10.0.0.0/8, 2001:db8::/32 or 192.0.2.7", "%s is not a network", problem.Quote(s))
			return netip.Prefix{}
		}
		p = netip.PrefixFrom(addr, addr.BitLen())
	}
	if p.Addr().Is4In6() {
		if p.Bits() < 96 {
			d.Report.Errorf(d.Position(n), "write IPv4 networks like 10.0.0.0/8", "%s mixes IPv4 and IPv6", problem.Quote(s))
			return netip.Prefix{}
		}
		p = netip.PrefixFrom(p.Addr().Unmap(), p.Bits()-96)
	}
	if p.Masked() != p {
		d.Report.Warnf(d.Position(n), fmt.Sprintf("write %s, which is what it means", p.Masked()), "%s has bits set beyond its length", problem.Quote(s))
	}
	return p.Masked()
}

// secret notes that a scalar must be masked when the policy is shown.
func (d *Decoder) secret(n *yaml.Node, mask maskFunc) {
	if n.Kind == yaml.AliasNode {
		n = n.Alias
	}
	d.Source.secrets[n] = mask
}

// ParseDuration reads a duration as policies have it: 90s, 1m30s, 12h, 7d. The
// error says what is wrong with the text, without quoting it.
func ParseDuration(s string) (time.Duration, error) {
	ns, wrong := parseDuration(s)
	if wrong != "" {
		return 0, errors.New(wrong)
	}
	return time.Duration(ns), nil
}

// parseDuration reads Go's durations with days besides. wrong is "" when nothing is.
func parseDuration(s string) (ns int64, wrong string) {
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
	return int64(days + parsed), ""
}

const maxDuration = 10 * 366 * 24 * time.Hour

// parseSize reads a number of bytes. wrong is "" when nothing is.
func parseSize(s string) (bytes int64, wrong string) {
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
	return n * unit, ""
}

func isDigits(s string) bool {
	for _, c := range []byte(s) {
		if c < '0' || c > '9' {
			return false
		}
	}
	return s != ""
}
