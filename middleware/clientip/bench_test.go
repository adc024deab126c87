package clientip_test

import (
	"context"
	"net/http"
	"strings"
	"testing"

	"github.com/headgate/headgate/middleware/clientip"
)

// work is what a request may cost, by what it carries.
var work = []struct {
	name   string
	header string // "" where nobody is trusted
	peer   string
	lines  []string
}{
	{"nobody trusted", "", "192.0.2.7:1234", []string{"203.0.113.66"}},
	{"nobody trusted, IPv6", "", "[2001:db8::7]:1234", nil},
	{"peer not trusted", xff, "192.0.2.7:1234", []string{"203.0.113.66"}},
	{"one proxy", xff, proxy, []string{client}},
	{"three proxies", xff, proxy, []string{"203.0.113.66, 192.0.2.7, 10.0.0.3, 10.0.0.2"}},
	{"Forwarded", forwarded, proxy, []string{`for="[2001:db8::7]:443";proto=https;by=_gw`}},
	{"a million commas", xff, proxy, []string{strings.Repeat(",", 1_000_000)}},
	{"a million letters", xff, proxy, []string{strings.Repeat("a", 1_000_000)}},
	{"a million quotes", forwarded, proxy, []string{strings.Repeat(`"`, 1_000_000)}},
	{"a million backslashes", forwarded, proxy, []string{strings.Repeat(`\`, 999_999) + `"`}},
	{"a million lines", xff, proxy, make([]string, 1_000_000)},
}

func BenchmarkInfo(b *testing.B) {
	for _, w := range work {
		b.Run(w.name, func(b *testing.B) {
			res := newResolver(b, clientip.Options{})
			if w.header != "" {
				res = behindProxies(b, w.header)
			}
			r := request(w.peer, w.header)
			r.Header[w.header] = w.lines
			b.ReportAllocs()
			for b.Loop() {
				res.Info(r)
			}
		})
	}
}

func TestHonestRequestsAllocateNothing(t *testing.T) {
	for _, w := range work[:6] {
		res := newResolver(t, clientip.Options{})
		if w.header != "" {
			res = behindProxies(t, w.header)
		}
		r := request(w.peer, w.header)
		r.Header[w.header] = w.lines
		if n := testing.AllocsPerRun(100, func() { res.Info(r) }); n > 0 {
			t.Errorf("%s: %v allocations", w.name, n)
		}
	}
}

func BenchmarkContext(b *testing.B) {
	r := request("192.0.2.7:1234", xff)
	var info clientip.Info
	b.Run("New", func(b *testing.B) {
		b.ReportAllocs()
		var ctx context.Context
		for b.Loop() {
			ctx = clientip.NewContext(r.Context(), info)
		}
		_ = ctx
	})
	b.Run("From", func(b *testing.B) {
		b.ReportAllocs()
		ctx := clientip.NewContext(context.WithValue(r.Context(), http.ServerContextKey, 1), info)
		for b.Loop() {
			info, _ = clientip.FromContext(ctx)
		}
	})
}
