package session_test

import (
	"encoding/json"
	"errors"
	"net/http"
	"reflect"
	"strings"
	"testing"

	"github.com/headgate/headgate/internal/httpx"
	"github.com/headgate/headgate/middleware/session"
)

func TestActionsOfTheAppServer(t *testing.T) {
	t.Parallel()
	for name, c := range map[string]struct {
		mode    session.Mode
		headers http.Header
		want    session.Actions
	}{
		"nothing":          {session.Off, http.Header{"Content-Type": {"text/html"}}, session.Actions{}},
		"login":            {session.Login, http.Header{"Headgate-Login": {"42"}}, session.Actions{Login: "42"}},
		"login by mail":    {session.Login, http.Header{"Headgate-Login": {"Zoë Ø <z@example.org>"}}, session.Actions{Login: "Zoë Ø <z@example.org>"}},
		"merge":            {session.Required, http.Header{"Headgate-Session-Merge": {`{"a":1.50,"b":null}`}}, session.Actions{Merge: map[string]any{"a": json.Number("1.50"), "b": nil}}},
		"empty merge":      {session.Optional, http.Header{"Headgate-Session-Merge": {`{}`}}, session.Actions{Merge: map[string]any{}}},
		"renew":            {session.Required, http.Header{"Headgate-Session-Renew": {"?1"}}, session.Actions{Renew: true}},
		"renew, not":       {session.Required, http.Header{"Headgate-Session-Renew": {"?0"}}, session.Actions{}},
		"renew, annotated": {session.Required, http.Header{"Headgate-Session-Renew": {"?1;reason=sudo"}}, session.Actions{Renew: true}},
		"logout":           {session.Optional, http.Header{"Headgate-Logout": {"session"}}, session.Actions{Logout: session.LogoutSession}},
		"everywhere":       {session.Logout, http.Header{"Headgate-Logout": {"everywhere"}}, session.Actions{Logout: session.LogoutEverywhere}},
	} {
		got, err := session.ParseActions(c.headers, c.mode)
		if err != nil || !reflect.DeepEqual(got, c.want) {
			t.Errorf("%s: %+v, %v", name, got, err)
		}
	}
}

func TestMalformedActionsAreBadGateway(t *testing.T) {
	t.Parallel()
	for name, c := range map[string]struct {
		mode    session.Mode
		headers http.Header
	}{
		"login elsewhere":          {session.Optional, http.Header{"Headgate-Login": {"42"}}},
		"login without sessions":   {session.Off, http.Header{"Headgate-Login": {"42"}}},
		"merge without sessions":   {session.Off, http.Header{"Headgate-Session-Merge": {`{}`}}},
		"logout without sessions":  {"", http.Header{"Headgate-Logout": {"session"}}},
		"two users":                {session.Login, http.Header{"Headgate-Login": {"42", "43"}}},
		"no user":                  {session.Login, http.Header{"Headgate-Login": {""}}},
		"a long user":              {session.Login, http.Header{"Headgate-Login": {strings.Repeat("x", 257)}}},
		"a control character":      {session.Login, http.Header{"Headgate-Login": {"a\tb"}}},
		"control, Latin-1":         {session.Login, http.Header{"Headgate-Login": {"\xfc\x85"}}},
		"a long user, Latin-1":     {session.Login, http.Header{"Headgate-Login": {strings.Repeat("\xfc", 257)}}},
		"a direction override":     {session.Login, http.Header{"Headgate-Login": {"a\u202eb"}}},
		"login and logout":         {session.Login, http.Header{"Headgate-Login": {"42"}, "Headgate-Logout": {"session"}}},
		"merge of a list":          {session.Optional, http.Header{"Headgate-Session-Merge": {`[1]`}}},
		"merge of null":            {session.Optional, http.Header{"Headgate-Session-Merge": {`null`}}},
		"merge of nothing":         {session.Optional, http.Header{"Headgate-Session-Merge": {``}}},
		"merge cut short":          {session.Optional, http.Header{"Headgate-Session-Merge": {`{"a":`}}},
		"merge with more":          {session.Optional, http.Header{"Headgate-Session-Merge": {`{} {}`}}},
		"merge twice":              {session.Optional, http.Header{"Headgate-Session-Merge": {`{}`, `{}`}}},
		"merge too large":          {session.Optional, http.Header{"Headgate-Session-Merge": {`{"a":"` + strings.Repeat("x", 9000) + `"}`}}},
		"merge too deep":           {session.Optional, http.Header{"Headgate-Session-Merge": {strings.Repeat(`{"a":`, 20000)}}},
		"renew in words":           {session.Optional, http.Header{"Headgate-Session-Renew": {"true"}}},
		"renew as a number":        {session.Optional, http.Header{"Headgate-Session-Renew": {"1"}}},
		"logout of something else": {session.Optional, http.Header{"Headgate-Logout": {"all"}}},
		"logout quoted":            {session.Optional, http.Header{"Headgate-Logout": {`"session"`}}},
		"logout as a boolean":      {session.Optional, http.Header{"Headgate-Logout": {`?1`}}},
	} {
		got, err := session.ParseActions(c.headers, c.mode)
		if !errors.Is(err, session.ErrMalformed) || session.Status(err) != http.StatusBadGateway || !reflect.DeepEqual(got, session.Actions{}) {
			t.Errorf("%s: %+v, %v", name, got, err)
		}
	}
}

func TestAMergeThatMakesTheSessionTooLargeIsBadGatewayAndChangesNothing(t *testing.T) {
	t.Parallel()
	onEachStore(t, session.Settings{}, func(t *testing.T, f *fleet) {
		var b browser
		b.start(t, f.instances[0], login).mustAnswer(session.HeaderLogin, "42", session.HeaderMerge, `{"a":"`+strings.Repeat("x", 4000)+`"}`)
		r := b.start(t, f.instances[0], optional)
		err := r.answer(session.HeaderMerge, `{"b":"`+strings.Repeat("x", 200)+`"}`)
		if !errors.Is(err, session.ErrTooLarge) || session.Status(err) != http.StatusBadGateway {
			t.Fatalf("the merge says %v", err)
		}
		// What counts is the size in UTF-8, where é takes two bytes.
		r = b.start(t, f.instances[0], optional)
		if err := r.answer(session.HeaderMerge, `{"a":"`+strings.Repeat("é", 2100)+`"}`); !errors.Is(err, session.ErrTooLarge) {
			t.Fatalf("the merge says %v", err)
		}
		if got := b.get(t, f.instances[1]).data(); len(got) != 4008 {
			t.Fatalf("the data is now %d bytes", len(got))
		}
	})
}

func FuzzParseActions(f *testing.F) {
	f.Add("42", `{"a":{"b":null}}`, "?1", "")
	f.Add("", "", "?0", "everywhere")
	f.Fuzz(func(t *testing.T, user, merge, renew, logout string) {
		h := http.Header{}
		for name, value := range map[string]string{"Headgate-Login": user, "Headgate-Session-Merge": merge, "Headgate-Session-Renew": renew, "Headgate-Logout": logout} {
			if value != "" {
				h.Set(name, value)
			}
		}
		a, err := session.ParseActions(h, session.Login)
		if err != nil {
			if !errors.Is(err, session.ErrMalformed) {
				t.Fatalf("no ErrMalformed: %v", err)
			}
			return
		}
		if name, _ := httpx.FieldText(user); a.Login != name || strings.ContainsAny(a.Login, "\r\n\x00") {
			t.Fatalf("user %q from %q", a.Login, user)
		}
		if a.Merge != nil {
			if _, err := json.Marshal(a.Merge); err != nil {
				t.Fatal(err)
			}
		}
	})
}
