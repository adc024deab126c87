package cache

import (
	"math"
	"net/http"
	"strings"
	"testing"
	"time"

	"github.com/headgate/headgate/middleware/cache/internal/collapse"
	"github.com/headgate/headgate/middleware/cache/internal/rfc9111"
)

// Numbers beyond anything that was ever written overflowed in the arithmetic on
// them: an age became negative, hence fresh, and a body's size took less than
// nothing of the budget.
func TestMetadataWithNumbersBeyondReasonIsRefused(t *testing.T) {
	t.Parallel()
	made := func(change func(*entry)) []byte {
		e := &entry{Response: rfc9111.Response{Status: 200, Header: http.Header{"A": {"1"}}, Date: fuzzNow, Received: fuzzNow,
			Lifetime: time.Minute}, keyText: "key", bodyID: strings.Repeat("ab", 16), body: body{size: 5}}
		change(e)
		return encodeEntry(e)
	}
	if _, err := decodeEntry(made(func(*entry) {})); err != nil {
		t.Fatal(err)
	}
	for what, change := range map[string]func(*entry){
		"initial age": func(e *entry) { e.InitialAge = math.MaxInt64 },
		"lifetime":    func(e *entry) { e.Lifetime = math.MaxInt64 },
		"stale":       func(e *entry) { e.Stale.IfError = math.MaxInt64 },
		"received":    func(e *entry) { e.Received = time.Date(-200_000, 1, 1, 0, 0, 0, 0, time.UTC) },
		"size":        func(e *entry) { e.body.size = math.MaxInt64 },
	} {
		if e, err := decodeEntry(made(change)); err == nil {
			t.Errorf("%s: %+v was read, of age %v", what, e, e.Age(fuzzNow))
		}
	}
	b := collapse.NewBudget(100)
	b.Take(1)
	if b.Take(math.MaxInt64) {
		t.Error("the budget gave more than it has")
	}
}
