package httpx

import (
	"net/http"
	"testing"
)

func TestGRPCIsKnownByItsMediaType(t *testing.T) {
	t.Parallel()
	for value, want := range map[string]struct{ grpc, web bool }{
		"application/grpc":                {true, false},
		"application/grpc+proto":          {true, false},
		"application/grpc; charset=utf-8": {true, false},
		"application/grpc ;charset=utf-8": {true, false},
		"application/grpc+json;x=y":       {true, false},
		" \tApplication/GRPC+Proto ":      {true, false},
		"application/grpc-web":            {false, true},
		"application/gRPC-Web-text+proto": {false, true},
		"application/grpcx":               {false, false},
		"application/grp":                 {false, false},
		"text/plain; a=application/grpc":  {false, false},
		"application/json":                {false, false},
		"":                                {false, false},
	} {
		h := http.Header{"Content-Type": {value}}
		if IsGRPC(h) != want.grpc || IsGRPCWeb(h) != want.web {
			t.Errorf("%q: gRPC %t, gRPC-Web %t", value, IsGRPC(h), IsGRPCWeb(h))
		}
	}
	if IsGRPC(nil) || IsGRPCWeb(nil) {
		t.Error("a message without a header is gRPC's")
	}
}
