package session

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"strconv"
	"unicode/utf16"
	"unicode/utf8"
)

// mergePatch applies a JSON merge patch to target as RFC 7396 section 2 says,
// for the case that both are objects. It changes target and returns it.
func mergePatch(target, patch map[string]any) map[string]any {
	if target == nil {
		target = make(map[string]any, len(patch))
	}
	for name, value := range patch {
		switch value := value.(type) {
		case nil:
			delete(target, name)
		case map[string]any:
			inner, _ := target[name].(map[string]any)
			target[name] = mergePatch(inner, value)
		default:
			target[name] = value
		}
	}
	return target
}

// decodeObject reads exactly one JSON object, with its numbers as json.Number:
// a float64 would round what an app stored as a large integer.
func decodeObject(data []byte) (map[string]any, error) {
	if !utf8.Valid(data) {
		return nil, errors.New("not valid UTF-8")
	}
	dec := json.NewDecoder(bytes.NewReader(data))
	dec.UseNumber()
	var v any
	if err := dec.Decode(&v); err != nil {
		return nil, err
	}
	if _, err := dec.Token(); err != io.EOF {
		return nil, errors.New("more than one JSON value")
	}
	object, ok := v.(map[string]any)
	if !ok {
		return nil, fmt.Errorf("a JSON object is wanted, not %.20s", data)
	}
	return object, nil
}

// encodeObject writes a session's data: JSON in ASCII alone, so that it travels
// in a header as it is stored, with names in order.
func encodeObject(object map[string]any) ([]byte, error) {
	if len(object) == 0 {
		return []byte("{}"), nil
	}
	var buf bytes.Buffer
	enc := json.NewEncoder(&buf)
	enc.SetEscapeHTML(false)
	if err := enc.Encode(object); err != nil {
		return nil, err
	}
	return escapeASCII(bytes.TrimSuffix(buf.Bytes(), []byte("\n"))), nil
}

// lenBeforeEscaping is how many bytes encodeObject's text has where escapeASCII's \u escapes are
// the letters that they stand for, in UTF-8.
func lenBeforeEscaping(data []byte) int {
	n := len(data)
	for i := 0; i+1 < len(data); i++ {
		if data[i] != '\\' {
			continue
		}
		if i++; data[i] != 'u' || i+4 >= len(data) {
			continue
		}
		r, err := strconv.ParseUint(string(data[i+1:i+5]), 16, 16)
		i += 4
		switch {
		case err != nil || r < 0x7f: // a control character, which JSON escapes
		case r == 0x7f:
			n -= len(`\u007f`) - 1
		case r < 0x800, utf16.IsSurrogate(rune(r)):
			n -= len(`\u00e9`) - 2 // a surrogate is half of a letter of four bytes
		default:
			n -= len(`\u20ac`) - 3
		}
	}
	return n
}

// escapeASCII replaces what is not ASCII by \u escapes. In valid JSON such
// characters stand in strings alone, where the escape means the same.
func escapeASCII(data []byte) []byte {
	ascii := true
	for _, c := range data {
		if c >= utf8.RuneSelf || c == 0x7f {
			ascii = false
			break
		}
	}
	if ascii {
		return data
	}
	out := make([]byte, 0, len(data)+len(data)/2)
	for _, r := range string(data) {
		switch {
		case r < 0x7f:
			out = append(out, byte(r))
		case r > 0xffff:
			r -= 0x10000
			out = fmt.Appendf(out, `\u%04x\u%04x`, 0xd800+(r>>10), 0xdc00+(r&0x3ff))
		default:
			out = fmt.Appendf(out, `\u%04x`, r)
		}
	}
	return out
}
