package session

import (
	"context"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"time"
)

// FuzzStoredRecord hands a request whatever a record may hold, as another version
// or another program could have left it in Redis: an error or no session is
// fine, a panic is not.
func FuzzStoredRecord(f *testing.F) {
	now := time.UnixMilli(1_800_000_000_000)
	t := newToken()
	sum, _ := t.sum().MarshalText()
	f.Add(strings.ReplaceAll(`{"v":1,"n":1,"user":"42","host":"shop.example","created":1800000000000,"seen":1800000000000,"ids":[{"h":"SUM","at":1}],"data":{"a":1}}`, "SUM", string(sum)))
	f.Add(strings.ReplaceAll(`{"v":1,"n":1,"host":"shop.example","created":1799999999999,"seen":1799999999999,"ids":[{"h":"SUM","at":1,"used":true},{"h":"SUM","from":"SUM"}],"data":[]}`, "SUM", string(sum)))
	f.Add(strings.ReplaceAll(`{"v":1,"n":1,"created":1800000000000,"seen":1799999000000,"host":"shop.example","ids":[{"h":"SUM","used":true},{"from":"SUM"}],"replaces":"x"}`, "SUM", string(sum)))
	f.Add(strings.ReplaceAll(`{"v":1,"n":1,"user":"42","created":1800000000000,"seen":1800000000000,"ids":[{"h":"SUM","at":1}]}`, "SUM", string(sum))) // without a host
	f.Add(`{"v":2}`)
	m, err := New(Options{Now: func() time.Time { return now }})
	if err != nil {
		f.Fatal(err)
	}
	ctx := context.Background()
	f.Fuzz(func(test *testing.T, text string) {
		r := httptest.NewRequest(http.MethodGet, "http://shop.example/", nil)
		r.AddCookie(&http.Cookie{Name: m.CookieName(), Value: t.text()})
		for _, a := range []Actions{{}, {Renew: true}, {Merge: map[string]any{"b": 1}}, {Login: "43"}, {Logout: LogoutEverywhere}} {
			rs := m.ForRequest(r, Route{Mode: Login})
			m.backend.(*memoryBackend).anonymous.Update(t.handle, now, func(keptRecord, bool) (keptRecord, int, time.Time, bool) {
				return keptAs(t.handle, []byte(text), now.Add(time.Hour))
			})
			_ = rs.Load(ctx)
			rs.Authorize()
			rs.ForwardHeaders(http.Header{})
			_, _ = rs.Commit(ctx, a)
		}
	})
}
