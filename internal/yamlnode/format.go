package yamlnode

import (
	"fmt"
	"reflect"
	"strconv"
	"strings"
	"time"

	"github.com/headgate/headgate/internal/mask"
)

// FormatDuration writes a duration as a policy would: 90s is 1m30s, 168h is 7d.
func FormatDuration(d time.Duration) string {
	const day = 24 * time.Hour
	if d >= day && d%day == 0 {
		return strconv.FormatInt(int64(d/day), 10) + "d"
	}
	s := d.String()
	if strings.HasSuffix(s, "m0s") {
		s = strings.TrimSuffix(s, "0s")
	}
	if strings.HasSuffix(s, "h0m") {
		s = strings.TrimSuffix(s, "0m")
	}
	return s
}

// FormatSize writes a number of bytes as a policy would, in the largest unit that divides it.
func FormatSize(n int64) string {
	unit := ""
	for _, larger := range []string{"KiB", "MiB", "GiB", "TiB"} {
		if n == 0 || n%1024 != 0 {
			break
		}
		n, unit = n/1024, larger
	}
	return strconv.FormatInt(n, 10) + unit
}

// Text writes a value as a policy would, secrets masked. Options are those of its field.
func Text(v reflect.Value, o Options) string {
	if v.Kind() == reflect.Slice && !isText(v.Type()) {
		return textOfList(v, o)
	}
	if none := o.Has("none"); none && v.CanInt() && v.Int() < 0 || none && v.CanFloat() && v.Float() < 0 {
		v = reflect.Zero(v.Type())
	}
	switch x := v.Interface().(type) {
	case time.Duration:
		if x == 0 && o.Has("off") {
			return "off"
		}
		return FormatDuration(x)
	case fmt.Stringer:
		return x.String()
	}
	switch {
	case o.Has("size"):
		return FormatSize(v.Int())
	case o.Has("secret"):
		if v.Len() == 0 {
			return ""
		}
		return mask.Secret
	case o.Has("url"):
		return mask.URL(v.String())
	case o.Has("switch"):
		return map[bool]string{true: "on", false: "off"}[v.Bool()]
	case o.Has("not"):
		return strconv.FormatBool(!v.Bool())
	}
	return fmt.Sprint(v.Interface())
}

// textOfList writes a list as [a, b]; an empty one is "".
func textOfList(v reflect.Value, o Options) string {
	if v.Type().Elem().Kind() == reflect.Uint8 { // a secret's bytes
		return Text(reflect.ValueOf(string(v.Bytes())), o)
	}
	items := make([]string, v.Len())
	for i := range items {
		items[i] = Text(v.Index(i), o)
	}
	switch {
	case o.Has("one") && len(items) == 0:
		return "0"
	case o.Has("one"):
		return items[0]
	case len(items) == 0:
		return ""
	}
	return "[" + strings.Join(items, ", ") + "]"
}
