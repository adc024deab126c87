package main

import (
	"fmt"
	"net/http"
	"strings"
)

// row is one thing that is measured.
type row struct {
	name   string
	policy string // behind what all have; %s is the app server
	// request is the i-th one.
	request func(i int) (method, target string, header http.Header)
	want    int // the status of each answer
	// first is sent before, once for each i as well, and not measured: what request is about.
	first func(i int) (method, target string, header http.Header)
	// grows says that each request leaves something in Redis; otherwise bytes say nothing.
	grows bool
	// instances is how many gateways there are, which take turns: 1 where it is 0.
	instances int
}

// client is a request of the i-th client.
func client(method, target string) func(i int) (string, string, http.Header) {
	return func(i int) (string, string, http.Header) {
		return method, target, http.Header{"X-Forwarded-For": {fmt.Sprintf("10.%d.%d.%d", i>>16&255, i>>8&255, i&255)}}
	}
}

// page is a request for the i-th page.
func page(i int) (string, string, http.Header) { return "GET", fmt.Sprintf("/page/%d", i), nil }

func limits(list ...string) string {
	var names []string
	var b strings.Builder
	b.WriteString("limits:\n")
	for i, l := range list {
		names = append(names, fmt.Sprint("l", i))
		fmt.Fprintf(&b, "  l%d: {%s}\n", i, l)
	}
	fmt.Fprintf(&b, "routes: [{path: /*, upstream: app, limits: [%s]}]\n", strings.Join(names, ", "))
	return b.String()
}

const (
	sessionRoutes = `session: {cookie: {secure: false}}
routes:
  - {path: /login, methods: [POST], upstream: app, session: login}
  - {path: /*, upstream: app, session: required}
`
	cachedRoutes = `caches: {c: {ttl: 1h, tags: [t]}}
routes: [{path: /*, upstream: app, cache: c}]
`
)

const jobRoutes = `queues: {q: {concurrency: 32, max_bytes: 1GiB}}
jobs: {work: %s}
routes: [{path: /*, upstream: app, queue: q}]
`

var rows = []row{
	{name: "limits: client under a fixed_window", policy: limits("algorithm: fixed_window, requests: 1000, window: 1h"), request: client("GET", "/"), want: 200, grows: true},
	{name: "limits: client under a sliding_window of 1000", policy: limits("algorithm: sliding_window, requests: 1000, window: 1h"), request: client("GET", "/"), want: 200, grows: true},
	{name: "limits: client under a sliding_log of 20, 1 request", policy: limits("algorithm: sliding_log, requests: 20, window: 1h"), request: client("GET", "/"), want: 200, grows: true},
	{name: "limits: client under a token_bucket", policy: limits("algorithm: token_bucket, requests: 1000, window: 1h"), request: client("GET", "/"), want: 200, grows: true},
	{name: "limits: client under two of these", policy: limits("algorithm: fixed_window, requests: 1000, window: 1h", "algorithm: sliding_window, requests: 5000, window: 24h"), request: client("GET", "/"), want: 200, grows: true},
	{name: "limits: client under three", policy: limits("algorithm: fixed_window, requests: 1000, window: 1h", "algorithm: sliding_window, requests: 5000, window: 24h", "algorithm: token_bucket, requests: 90, window: 1m"), request: client("GET", "/"), want: 200, grows: true},
	{name: "limits: request of a client that is known", policy: limits("algorithm: sliding_window, requests: 1000000, window: 1h"), first: client("GET", "/"), request: client("GET", "/"), want: 200},
	{name: "sessions: login of a user", policy: sessionRoutes, request: func(i int) (string, string, http.Header) {
		return "POST", fmt.Sprintf("/login?user=user-%d", i), nil
	}, want: 200, grows: true},
	{name: "sessions: request with a session", policy: sessionRoutes, first: func(i int) (string, string, http.Header) {
		return "POST", fmt.Sprintf("/login?user=user-%d", i), nil
	}, request: func(int) (string, string, http.Header) { return "GET", "/", nil }, want: 200},
	{name: "jobs: one that waits, without a body", policy: fmt.Sprintf(jobRoutes, "off"), request: client("POST", "/task"), want: 202, grows: true},
	{name: "jobs: one that is taken, done and kept", policy: fmt.Sprintf(jobRoutes, "on"), request: client("POST", "/task"), want: 202, grows: true},
	{name: "cache: page of 1 KiB, fetched and stored", policy: cachedRoutes, request: page, want: 200, grows: true},
	{name: "cache: page of 1 KiB, from another instance's", policy: cachedRoutes, first: page, request: page, want: 200, instances: 2},
}
