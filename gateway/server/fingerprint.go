package server

import (
	"crypto/sha256"
	"encoding/binary"
	"fmt"
	"io"
	"reflect"
	"slices"
	"strings"

	"github.com/headgate/headgate/internal/filestate"
	"github.com/headgate/headgate/policies"
)

// fingerprint identifies all that a policy is made of: the text of its files,
// the values of its variables and secrets, and the contents of the files that it
// names, such as a CA. Two policies with one fingerprint do the same, so a
// reload from one to the other is not worth making. It is made of secrets, and
// stays in this process; Policy.Hash is what operators see.
type fingerprint [sha256.Size]byte

func fingerprintOf(p *policies.Policy) fingerprint {
	h := sha256.New()
	writePart(h, p.Hash())
	writeValue(h, reflect.ValueOf(p), false)
	return fingerprint(h.Sum(nil))
}

// writeValue writes a value of a policy so that different values are written
// differently. Of a path that names a file, it writes the file's contents too.
func writeValue(w io.Writer, v reflect.Value, names bool) {
	switch v.Kind() {
	case reflect.Pointer, reflect.Interface:
		if v.IsNil() {
			writePart(w, "nil")
			return
		}
		if text, ok := v.Interface().(fmt.Stringer); ok && opaque(v.Type()) {
			writePart(w, text.String())
			return
		}
		writeValue(w, v.Elem(), names)
	case reflect.Struct:
		if opaque(v.Type()) {
			writePart(w, fmt.Sprint(v.Interface())) // such as a netip.Prefix
			return
		}
		for i := range v.NumField() {
			field := v.Type().Field(i)
			if field.IsExported() {
				writePart(w, field.Name)
				writeValue(w, v.Field(i), namesFile(field))
			}
		}
	case reflect.Slice, reflect.Array:
		writePart(w, fmt.Sprint(v.Len()))
		for i := range v.Len() {
			writeValue(w, v.Index(i), names)
		}
	case reflect.Map:
		writePart(w, fmt.Sprint(v.Len()))
		keys := v.MapKeys()
		slices.SortFunc(keys, func(a, b reflect.Value) int { return strings.Compare(fmt.Sprint(a), fmt.Sprint(b)) })
		for _, key := range keys {
			writePart(w, fmt.Sprint(key))
			writeValue(w, v.MapIndex(key), names)
		}
	case reflect.String:
		writePart(w, v.String()) // also of types whose String method masks a secret
		if names && v.String() != "" {
			text, err := filestate.Read(v.String())
			writePart(w, fmt.Sprint(err != nil)+string(text))
		}
	default:
		writePart(w, fmt.Sprint(v))
	}
}

// namesFile reports whether a key holds the path of a file that the gateway
// reads. By the policy's convention such a key ends with _file.
func namesFile(f reflect.StructField) bool {
	key, _, _ := strings.Cut(f.Tag.Get("yaml"), ",")
	return strings.HasSuffix(key, "_file")
}

// opaque reports whether a struct, or what a pointer leads to, shows none of its fields.
func opaque(t reflect.Type) bool {
	if t.Kind() == reflect.Pointer {
		t = t.Elem()
	}
	if t.Kind() != reflect.Struct {
		return false
	}
	for i := range t.NumField() {
		if t.Field(i).IsExported() {
			return false
		}
	}
	return t.NumField() > 0
}

// writePart writes text with its length before it, so that parts cannot run into each other.
func writePart(w io.Writer, text string) {
	var length [8]byte
	binary.BigEndian.PutUint64(length[:], uint64(len(text)))
	_, _ = w.Write(length[:]) // a hash takes every write
	_, _ = io.WriteString(w, text)
}
