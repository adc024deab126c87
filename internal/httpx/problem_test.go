package httpx_test

import (
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"

	"github.com/headgate/headgate/internal/httpx"
)

func TestProblems(t *testing.T) {
	t.Parallel()
	for _, tt := range []struct {
		problem httpx.Problem
		want    string
	}{
		{httpx.Problem{Status: 404}, `{"title":"Not Found","status":404}`},
		{httpx.Problem{Status: 599, Detail: "d", RequestID: "i"}, `{"title":"Status 599","status":599,"detail":"d","request_id":"i"}`},
		{httpx.Problem{Type: "u", Title: "t", Status: 429, Violated: []string{"a", "b"}}, `{"type":"u","title":"t","status":429,"violated-policies":["a","b"]}`},
	} {
		for _, method := range []string{"GET", "HEAD"} {
			w := httptest.NewRecorder()
			w.Header().Set("Content-Encoding", "gzip")
			httpx.WriteProblem(w, httptest.NewRequest(method, "/", nil), tt.problem)
			body := tt.want
			if method == "HEAD" {
				body = ""
			}
			h := w.Result().Header
			if w.Code != tt.problem.Status || w.Body.String() != body || h.Get("Content-Type") != "application/problem+json" ||
				h.Get("Cache-Control") != "no-store" || w.Result().ContentLength != int64(len(tt.want)) || h.Get("Content-Encoding") != "" || h["Retry-After"] != nil {
				t.Errorf("%s %+v: %d %v %s", method, tt.problem, w.Code, h, w.Body)
			}
		}
	}
}

func TestARenderedProblemKeepsCacheControlAndCostsOneAllocation(t *testing.T) {
	p := httpx.Problem{Status: 503}.Render()
	h := http.Header{"Cache-Control": {"private"}}
	p.SetHeader(h, "7")
	if h.Get("Cache-Control") != "private" || h.Get("Retry-After") != "7" || !strings.HasPrefix(string(p.Body()), "{") {
		t.Error(h)
	}
	h = make(http.Header, 8)
	if n := testing.AllocsPerRun(100, func() {
		clear(h)
		p.SetHeader(h, "7")
	}); n > 1 {
		t.Errorf("%v allocations", n)
	}
}
