package httpx

import "testing"

func TestMethodsAreSafeAndIdempotentAsTheirSpecificationsSay(t *testing.T) {
	t.Parallel()
	for _, tt := range []struct {
		method                     string
		safe, idempotent, standard bool
	}{
		{"GET", true, true, true},
		{"HEAD", true, true, true},
		{"OPTIONS", true, true, true},
		{"TRACE", true, true, true},
		{"QUERY", true, true, true}, // RFC 10008
		{"PUT", false, true, true},
		{"DELETE", false, true, true},
		{"POST", false, false, true},
		{"PATCH", false, false, true},
		{"CONNECT", false, false, true},
		{"PURGE", false, false, false},
		{"query", false, false, false}, // methods are case-sensitive
		{"", false, false, false},
	} {
		if IsSafe(tt.method) != tt.safe || IsIdempotent(tt.method) != tt.idempotent || IsStandardMethod(tt.method) != tt.standard {
			t.Errorf("%q: safe %t, idempotent %t, standard %t", tt.method, IsSafe(tt.method), IsIdempotent(tt.method), IsStandardMethod(tt.method))
		}
	}
}
