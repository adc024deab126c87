package proxy

import (
	"net/http"
	"testing"
)

func TestAnswersThatAreReadAhead(t *testing.T) {
	t.Parallel()
	for name, tt := range map[string]struct {
		length int64
		header http.Header
		route  RouteOptions
		want   bool
	}{
		"a long one":             {length: 1 << 20, want: true},
		"of unknown length":      {length: -1, want: true},
		"a short one":            {length: smallAnswer},
		"events":                 {length: -1, header: http.Header{"Content-Type": {"Text/Event-Stream; charset=utf-8"}}},
		"gRPC":                   {length: -1, header: http.Header{"Content-Type": {"application/grpc"}}},
		"X-Accel-Buffering: no":  {length: -1, header: http.Header{"X-Accel-Buffering": {"No"}}},
		"X-Accel-Buffering: yes": {length: -1, header: http.Header{"X-Accel-Buffering": {"yes"}}, want: true},
		"buffer: off":            {length: -1, route: RouteOptions{Unbuffered: true}},
	} {
		tx := &transaction{pool: &pool{cfg: Config{Buffer: Buffer{Answers: 1 << 20}}}, route: &tt.route}
		if got := tx.readsAnswerAhead(&http.Response{ContentLength: tt.length, Header: tt.header}); got != tt.want {
			t.Errorf("%s: %t", name, got)
		}
		tx.pool.cfg.Buffer.Answers = -1
		if tx.readsAnswerAhead(&http.Response{ContentLength: tt.length, Header: tt.header}) {
			t.Errorf("%s with answers: 0 is read ahead", name)
		}
	}
}
