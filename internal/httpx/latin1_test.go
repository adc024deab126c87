package httpx_test

import (
	"testing"
	"unicode/utf8"

	"github.com/headgate/headgate/internal/httpx"
)

func TestFieldsAreUTF8OrLatin1(t *testing.T) {
	t.Parallel()
	for _, tt := range []struct {
		value, text string
		latin1      bool
	}{
		{"", "", false},
		{"alice", "alice", false},
		{"müller", "müller", false},
		{"m\xfcller", "müller", true},
		{"\xc5ngstr\xf6m", "Ångström", true},
		{"m\xc3\xbcller \xfc", "mÃ¼ller ü", true},
		{"\xff", "ÿ", true},
	} {
		text, latin1 := httpx.FieldText(tt.value)
		if text != tt.text || latin1 != tt.latin1 {
			t.Errorf("%q: %q, Latin-1 %v", tt.value, text, latin1)
		}
	}
}

func FuzzFieldText(f *testing.F) {
	f.Add("m\xfcller")
	f.Fuzz(func(t *testing.T, value string) {
		text, latin1 := httpx.FieldText(value)
		if !utf8.ValidString(text) || !latin1 && text != value || latin1 && httpx.Latin1(text) != value {
			t.Errorf("%q: %q, Latin-1 %v", value, text, latin1)
		}
	})
}
