package session_test

import (
	"encoding/json"
	"reflect"
	"strings"
	"testing"

	"pgregory.net/rapid"

	"github.com/headgate/headgate/middleware/session"
)

// The rows of RFC 7396 appendix A whose target and patch are objects, as a
// session's always are.
func TestMergePatchesOfRFC7396(t *testing.T) {
	t.Parallel()
	m := newManager(t, session.Options{})
	for _, c := range []struct{ target, patch, want string }{
		{`{"a":"b"}`, `{"a":"c"}`, `{"a":"c"}`},
		{`{"a":"b"}`, `{"b":"c"}`, `{"a":"b","b":"c"}`},
		{`{"a":"b"}`, `{"a":null}`, `{}`},
		{`{"a":"b","b":"c"}`, `{"a":null}`, `{"b":"c"}`},
		{`{"a":["b"]}`, `{"a":"c"}`, `{"a":"c"}`},
		{`{"a":"c"}`, `{"a":["b"]}`, `{"a":["b"]}`},
		{`{"a":{"b":"c"}}`, `{"a":{"b":"d","c":null}}`, `{"a":{"b":"d"}}`},
		{`{"a":[{"b":"c"}]}`, `{"a":[1]}`, `{"a":[1]}`},
		{`{"e":null}`, `{"a":1}`, `{"a":1}`}, // our target is made by a patch itself: no null in it
		{`{"a":"b"}`, `{"a":{"bb":{"ccc":null}}}`, `{"a":{"bb":{}}}`},
		{`{"a":[null,1]}`, `{"b":[null]}`, `{"a":[null,1],"b":[null]}`},
	} {
		var b browser
		b.start(t, m, login).mustAnswer(session.HeaderLogin, "42", session.HeaderMerge, c.target)
		b.start(t, m, optional).mustAnswer(session.HeaderMerge, c.patch)
		if got := b.get(t, m).data(); got != c.want {
			t.Errorf("%s with %s is %s, want %s", c.target, c.patch, got, c.want)
		}
	}
}

// reference is the RFC's pseudo code, on whatever encoding/json makes of it.
func reference(target, patch any) any {
	p, ok := patch.(map[string]any)
	if !ok {
		return patch
	}
	t, ok := target.(map[string]any)
	if !ok {
		t = map[string]any{}
	}
	for name, value := range p {
		if value == nil {
			delete(t, name)
		} else {
			t[name] = reference(t[name], value)
		}
	}
	return t
}

func TestAnySequenceOfMergesIsTheReferences(t *testing.T) {
	t.Parallel()
	m := newManager(t, session.Options{})
	name := rapid.SampledFrom([]string{"a", "b", "é", "\"", "<&>", "\u2028"})
	leaf := rapid.OneOf(
		rapid.Just[any](nil),
		rapid.Map(rapid.Int64(), func(n int64) any { return n }),
		rapid.Map(rapid.StringN(0, 5, -1), func(s string) any { return strings.ToValidUTF8(s, "") }),
		rapid.Map(rapid.SliceOfN(rapid.Bool(), 0, 2), func(l []bool) any { return l }),
	)
	inner := rapid.Map(rapid.MapOfN(name, leaf, 0, 3), func(o map[string]any) any { return o })
	patches := rapid.SliceOfN(rapid.MapOfN(name, rapid.OneOf(leaf, inner), 0, 4), 1, 6)
	rapid.Check(t, func(rt *rapid.T) {
		var b browser
		b.login(t, m, "42")
		var want any = map[string]any{}
		for _, patch := range patches.Draw(rt, "patches") {
			text, err := json.Marshal(patch)
			if err != nil {
				rt.Fatal(err)
			}
			b.start(t, m, optional).mustAnswer(session.HeaderMerge, string(text))
			want = reference(want, decode(rt, text))
		}
		got := b.get(t, m).data()
		for i := range len(got) {
			if got[i] >= 0x7f || got[i] < ' ' {
				rt.Fatalf("not printable ASCII: %q", got)
			}
		}
		if !reflect.DeepEqual(decode(rt, []byte(got)), want) {
			rt.Fatalf("got %s, want %v", got, want)
		}
	})
}

func decode(t *rapid.T, text []byte) (v any) {
	dec := json.NewDecoder(strings.NewReader(string(text)))
	dec.UseNumber()
	if err := dec.Decode(&v); err != nil {
		t.Fatal(err)
	}
	return v
}
