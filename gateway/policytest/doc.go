// Package policytest runs a policy's tests: sequences of requests, with what the operator
// expects of each, in a file beside the policy. `headgate test` is its
// command; policies/TESTING.md is its manual, with a complete example.
//
//	version: 1
//	clients:
//	  alice: {from: 203.0.113.7}
//	tests:
//	  - name: an address has 100 requests a minute
//	    steps:
//	      - send: GET /
//	        as: alice
//	        times: 120
//	        over: 30s
//	        expect:
//	          first 100: {status: 200}
//	          rest: {status: 429, denied_by: per-ip, headers: {Retry-After: any}}
//
// # How a request passes through a test
//
// [Load] reads the file as strictly as policies are read. [Run]
// then loads the policy, checks that the names that the tests use (routes,
// limits, upstreams, clients) are the policy's, and runs test by test, step by
// step. A step's requests are spread evenly over its time. Before each request, the
// harness adds the client's cookies as a browser would. After it, the harness waits for the cache's background
// fetches, so that the result does not depend on the speed of the machine. Then it compares the response, what the app
// server received, and what remains of the limits with what the test expects.
//
// Each test gets its own gateway, built by server.New from the policy, and its requests go through ServeHTTP: the same
// normaliser, matcher, limits, sessions, cache and forwarding as in production. Three parts come
// from the test, through server.Options:
//
//   - the clock, which moves only as the test says. Requests take no time;
//   - the app servers, which answer as the test says, in place of the proxy's connections;
//   - an observer, which receives the record that the access log would have of each request.
//
// # What it promises
//
//   - Tests need no port, no Redis and no network, and give the same result on every machine. The only environment
//     variables are those that the file sets. A policy that names a Redis is counted in memory,
//     and the report says so.
//   - What exists below HTTP only is not tested: TLS, malformed framing, timeouts of connections, health checks, and
//     outages of Redis.
//
// # When things fail
//
// A mistake in the file or the policy is file:line:column, what is wrong and how to mend it. All mistakes are
// reported in one run, and no test runs.
//
// A failed test reports the first request of a phase that was not as expected, what
// differs, and the gateway's explanation of it. The test goes on, as later
// steps may fail too.
package policytest
