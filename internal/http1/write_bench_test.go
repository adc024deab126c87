package http1_test

import (
	"net/http"
	"testing"

	"github.com/headgate/headgate/internal/http1"
)

// BenchmarkFields is what the header of a 429 costs.
func BenchmarkFields(b *testing.B) {
	h := http.Header{
		"Cache-Control": {"no-store"}, "Content-Length": {"192"}, "Content-Type": {"application/problem+json"},
		"Ratelimit": {`"narrow";r=0;t=103677`}, "Ratelimit-Policy": {`"narrow";q=5;w=86400`},
		"Retry-After": {"103677"}, "X-Request-Id": {"GIPWEKNHEY7LH5DSCF6LOSJUIO"},
	}
	buf := make([]byte, 0, 4096)
	b.ReportAllocs()
	for b.Loop() {
		buf = http1.AppendFields(buf[:0], h)
	}
}
