package pipeline

import (
	"errors"
	"strings"

	"github.com/dunglas/httpsfv"
)

// maxIdempotencyKey bounds an Idempotency-Key, in bytes.
const maxIdempotencyKey = 255

// idempotencyKey reads Idempotency-Key (draft-ietf-httpapi-idempotency-key-header): a structured string, or without quotes
// the visible characters that clients send in practice. Both spellings are one key. "" is none.
func idempotencyKey(lines []string) (string, error) {
	switch {
	case len(lines) == 0:
		return "", nil
	case len(lines) > 1:
		return "", errors.New("it stands twice")
	}
	line := strings.Trim(lines[0], " \t")
	key := line
	if strings.HasPrefix(line, `"`) {
		item, err := httpsfv.UnmarshalItem([]string{line})
		if err != nil {
			return "", errors.New("it is not a string of structured fields")
		}
		key, _ = item.Value.(string)
	} else if strings.ContainsFunc(line, func(r rune) bool { return r <= ' ' || r >= 0x7f || r == '"' || r == ',' || r == ';' || r == '\\' }) {
		return "", errors.New(`it is neither a string in quotes nor one word`)
	}
	switch {
	case key == "":
		return "", errors.New("it is empty")
	case len(key) > maxIdempotencyKey:
		return "", errors.New("it has more than 255 bytes")
	}
	return key, nil
}
