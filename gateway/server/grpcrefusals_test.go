package server_test

import (
	"fmt"
	"net/http"
	"strings"
	"testing"
)

// Whatever the gateway refuses, a gRPC client reads why from grpc-status, however it writes its media type and over
// whichever protocol it comes. Over HTTP/1, which gRPC does not have, refusals keep their own status.
func TestEveryRefusalOfAGRPCClientHasAGRPCStatus(t *testing.T) {
	t.Parallel()
	g := start(t, fmt.Sprintf(h2cServer, ", max_body: 1KiB")+`
upstreams: {down: {servers: ["http://127.0.0.1:1"], retries: 0}}
clients: {acme: {key_sha256: 9f86d081884c7d659a2feaa0c55ad015a3bf4f1b2b0b822cd15d6c15b0f00a08}}
limits: {few: {requests: 1, window: 1h}, none: {requests: 0, window: 1h}}
defaults: {upstream: down}
routes:
  - {name: down, path: /down}
  - {name: limited, path: /limited, limits: few}
  - {name: closed, path: /closed, limits: none}
  - {name: key, path: /key, client: required}
  - {name: session, path: /session, session: required}
  - {name: maintained, path: /maintained, maintenance: {body: "<p>back soon</p>"}}
  - {name: blocked, path: /blocked, respond: {status: 403, body: "no"}}
  - {name: get, path: /get, methods: [GET]}
`)
	for _, protocol := range []string{"http/1.1", "h2c"} {
		client := clientOf(t, protocol)
		for _, mediaType := range []string{"application/grpc", "application/grpc+proto", "Application/GRPC; charset=utf-8", "application/grpc ;x=y"} {
			for _, tt := range []struct{ path, body, code string }{
				{"/down", "", "14"},
				{"/limited", "", "14"},
				{"/closed", "", "7"},
				{"/key", "", "16"},
				{"/session", "", "16"},
				{"/maintained", "", "14"},
				{"/blocked", "", "7"},
				{"/get", "", "12"},
				{"/nothing", "", "12"},
				{"/a%00b", "", "13"},
				{"/down", strings.Repeat("x", 2000), "8"},
			} {
				var res *http.Response
				for range 2 { // the second is over the limit
					r, err := http.NewRequest("POST", "http://"+g.Addr()+tt.path, strings.NewReader(tt.body))
					if err != nil {
						t.Fatal(err)
					}
					r.Header["Content-Type"] = []string{mediaType}
					if res, err = client.Do(r); err != nil {
						t.Fatal(err)
					}
					res.Body.Close()
				}
				trailersOnly := res.StatusCode == 200 && res.Header.Get("Content-Type") == "application/grpc"
				if trailersOnly != (protocol == "h2c") || !trailersOnly && res.StatusCode < 400 || res.Header.Get("Grpc-Status") != tt.code {
					t.Errorf("%s %s as %s: %d, grpc-status %q, %s", protocol, tt.path, mediaType, res.StatusCode, res.Header.Get("Grpc-Status"), res.Header.Get("Content-Type"))
				}
			}
		}
	}
}
