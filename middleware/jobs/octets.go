package jobs

import (
	"net/http"
	"strings"

	"github.com/headgate/headgate/internal/httpx"
)

// octets is text of a request or an answer, which need not be UTF-8, as JSON keeps it.
type octets string

// latin1Mark stands before what is not UTF-8. No field and no URL can hold it.
const latin1Mark = "\x00"

func (o octets) MarshalText() ([]byte, error) {
	text, latin1 := httpx.FieldText(string(o))
	if latin1 {
		text = latin1Mark + text
	}
	return []byte(text), nil
}

func (o *octets) UnmarshalText(text []byte) error {
	if rest, ok := strings.CutPrefix(string(text), latin1Mark); ok {
		*o = octets(httpx.Latin1(rest))
	} else {
		*o = octets(text)
	}
	return nil
}

// storedFields are fields as JSON keeps them.
type storedFields map[string][]octets

func storedOf(h http.Header) storedFields {
	s := make(storedFields, len(h))
	for name, values := range h {
		for _, v := range values {
			s[name] = append(s[name], octets(v))
		}
	}
	return s
}

func (s storedFields) header() http.Header {
	h := make(http.Header, len(s))
	for name, values := range s {
		for _, v := range values {
			h[name] = append(h[name], string(v))
		}
	}
	return h
}
