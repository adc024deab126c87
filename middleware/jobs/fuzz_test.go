package jobs

import (
	"net/http"
	"slices"
	"strings"
	"testing"
)

func FuzzQueueOf(f *testing.F) {
	f.Add(newID("images"))
	f.Add("a-b-0123456789abcdefghjkmnpqrs")
	f.Add("-0123456789abcdefghjkmnpqrs")
	f.Fuzz(func(t *testing.T, id string) {
		queue, ok := QueueOf(id)
		if ok && (queue == "" || !strings.HasPrefix(id, queue+"-") || strings.ContainsAny(id[len(queue):], "{}:/ ")) {
			t.Fatalf("%q is of the queue %q", id, queue)
		}
	})
}

func FuzzRetryAfter(f *testing.F) {
	f.Add("120", "")
	f.Add("Sat, 28 Nov 2026 13:00:00 GMT", "Sat, 28 Nov 2026 12:00:00 GMT")
	f.Add("99999999999999999999", "")
	f.Fuzz(func(t *testing.T, value, date string) {
		if d := retryAfter(http.Header{"Retry-After": {value}, "Date": {date}}); d < 0 || d > longest {
			t.Fatalf("%q with %q is %v", value, date, d)
		}
	})
}

func FuzzResult(f *testing.F) {
	f.Add(200, "text/plain", []byte("body\nof two lines"), int64(5))
	f.Add(200, "caf\xe9", []byte(nil), int64(5))
	f.Fuzz(func(t *testing.T, status int, field string, body []byte, most int64) {
		if status == 0 || most < 0 {
			return
		}
		stored := encodeResult(&Answer{Status: status, Header: http.Header{"X-A": {field}}, Body: body}, most)
		res, err := decodeResult(stored)
		if !slices.Equal(res.Header["X-A"], []string{field}) && !strings.Contains(field, "\x00") {
			t.Fatalf("the field %q came back as %q", field, res.Header["X-A"])
		}
		if err != nil || res.Status != status || int64(len(res.Body)) != min(most, int64(len(body))) || res.Truncated != (most < int64(len(body))) {
			t.Fatalf("%+v, %v", res, err)
		}
		if res, err = decodeResult(withoutBody(stored)); err != nil || res.Status != status || len(res.Body) != 0 {
			t.Fatalf("without its body: %+v, %v", res, err)
		}
	})
}
