package server_test

import (
	"fmt"
	"io"
	"net"
	"net/http"
	"strings"
	"testing"

	"github.com/headgate/headgate/gateway/pipeline"
)

const withQueries = `
upstreams: {shop: {servers: [%s]}}
caches: {pages: {ttl: 1m, query_max: 1KiB}}
defaults: {upstream: shop}
routes:
  - {name: cached, path: /cached/*, methods: [GET, QUERY], cache: pages}
  - {name: small, path: /small/*, cache: pages, max_body: 100}
  - {name: plain, path: /*}
`

// echoQuery answers with what it was asked.
func echoQuery(w http.ResponseWriter, r *http.Request) {
	content, err := io.ReadAll(r.Body)
	if err != nil {
		panic(http.ErrAbortHandler)
	}
	fmt.Fprintf(w, "%s %d %s", r.Method, r.ContentLength, content)
}

func TestQueriesAreForwardedAndCachedOverEveryProtocol(t *testing.T) {
	t.Parallel()
	g := start(t, fmt.Sprintf(h2cServer, "")+fmt.Sprintf(withQueries, appFunc(t, echoQuery).URL))
	for _, protocol := range []string{"http/1.1", "h2c"} {
		client := clientOf(t, protocol)
		send := func(path, content string, chunked bool) (int, string, string) {
			t.Helper()
			var body io.Reader = strings.NewReader(content)
			if chunked {
				body = io.MultiReader(body)
			}
			r, err := http.NewRequest("QUERY", "http://"+g.Addr()+path, body)
			if err != nil {
				t.Fatal(err)
			}
			r.Header.Set("Content-Type", "text/plain")
			res, err := client.Do(r)
			if err != nil {
				t.Fatal(err)
			}
			defer res.Body.Close()
			text, _ := io.ReadAll(res.Body)
			return res.StatusCode, string(text), res.Header.Get("Cache-Status")
		}
		long := strings.Repeat("x", 2000)
		for _, tt := range []struct {
			path, content string
			chunked       bool
			want, status  string
		}{
			{"/cached/" + protocol, "ask", false, "QUERY 3 ask", "stored"},
			{"/cached/" + protocol, "ask", true, "QUERY 3 ask", "; hit"},
			{"/cached/" + protocol, "", false, "QUERY 0 ", "stored"},
			{"/cached/" + protocol, long, false, "QUERY 2000 " + long, "query-too-long"},
			{"/cached/" + protocol, long, true, "QUERY -1 " + long, "query-too-long"},
			{"/plain", "ask", false, "QUERY 3 ask", ""},
			{"/small/" + protocol, long[:100], true, "QUERY 100 " + long[:100], "stored"},
		} {
			if status, text, cached := send(tt.path, tt.content, tt.chunked); status != 200 || text != tt.want || !strings.Contains(cached, tt.status) {
				t.Errorf("%s %s, %d bytes, chunked %t: %d %s, %s", protocol, tt.path, len(tt.content), tt.chunked, status, text, cached)
			}
		}
		for _, chunked := range []bool{false, true} {
			if status, text, _ := send("/small/"+protocol, long[:101], chunked); status != 413 {
				t.Errorf("%s: 101 bytes where max_body is 100, chunked %t: %d %s", protocol, chunked, status, text)
			}
		}
	}
	if n := g.metric(`headgate_requests_total{method="QUERY",route="plain",status="200"}`); n != 2 {
		t.Errorf("%v QUERY requests on the plain route are counted", n)
	}
}

// A QUERY is tried again on another server, with its content, as a GET is.
func TestQueriesAreRetriedWithTheirContent(t *testing.T) {
	t.Parallel()
	broken, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { broken.Close() })
	go func() { // reads something of each request, and closes its connection without an answer
		for {
			c, err := broken.Accept()
			if err != nil {
				return
			}
			_, _ = c.Read(make([]byte, 4096))
			c.Close()
		}
	}()
	servers := fmt.Sprintf("http://%s, %s", broken.Addr(), appFunc(t, echoQuery).URL)
	g := start(t, listenAnywhere+strings.Replace(fmt.Sprintf(withQueries, servers), "servers:", "ejection: off, retries: 1, retry_budget: 1, servers:", 1))
	for i := range 10 {
		for _, path := range []string{"/plain", fmt.Sprint("/cached/", i)} {
			if a := g.send("QUERY", path, strings.NewReader("ask")); a.StatusCode != 200 || a.text != "QUERY 3 ask" {
				t.Errorf("%s: %d %s", path, a.StatusCode, a.text)
			}
		}
	}
}

func TestExplainSaysByWhatAQueryIsLookedUp(t *testing.T) {
	t.Parallel()
	g := start(t, listenAnywhere+fmt.Sprintf(withQueries, "http://127.0.0.1:1"))
	explain := func(content string) *pipeline.Explanation {
		e, err := g.Explain(t.Context(), pipeline.Question{Method: "QUERY", URL: "http://a/cached/x", Header: http.Header{"Content-Type": {"text/plain"}}, Body: content})
		if err != nil {
			t.Fatal(err)
		}
		return e
	}
	e := explain("ask")
	if key := strings.Join(e.CacheKey, " | "); !strings.Contains(key, "Content-Type: text/plain | QUERY of 3 bytes, sha256 ") || e.Bypass != "" {
		t.Errorf("%s, %s", key, e.Bypass)
	}
	if e := explain(strings.Repeat("x", 1025)); e.CacheKey != nil || e.Bypass != "query-too-long" {
		t.Errorf("%v, %s", e.CacheKey, e.Bypass)
	}
}
