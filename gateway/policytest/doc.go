// Package policytest runs a policy's own tests: sequences of requests, and what
// is to become of each, in a file beside the policy. `headgate test` is its
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
// # What is tested
//
// The gateway that serves. Each test gets a gateway of its own, built by
// server.New from the policy, and its requests go through ServeHTTP: the same
// normaliser, matcher, limits, sessions, cache and forwarding, in the same
// order. Three things are put in from outside, through server.Options:
//
//   - the clock, which moves only as a test says. Requests take no time;
//   - the app servers, which answer as a test says, behind all that package
//     proxy does to a request before it leaves and to an answer as it comes;
//   - an observer, which hears of each request what the access log would.
//
// So the tests need no port, no Redis and no network, and say the same
// everywhere: not even environment variables have a part in them, but for those
// that the file itself sets. A policy that names a Redis is counted in memory,
// and the report says so. What only exists below HTTP is not tested: TLS,
// malformed framing, timeouts of connections, health checks, and of Redis its
// outage.
//
// # How a request passes through a test
//
// [Load] reads the file, as strictly as policies are read: every mistake is
// file:line:column, what is wrong, how to mend it, all of them in one run. [Run]
// then loads the policy, checks that the names that the tests use (routes,
// limits, upstreams, clients) are the policy's, and runs test by test, step by
// step. A step's requests are spread evenly over its time. Before each, the
// client's cookies are put in as a browser would; after it, fetches that the
// cache goes on with in the background are waited for, so that what a test sees
// does not depend on how fast the machine is. Then the answer, what the app
// saw, and what remains of the limits are compared with what is expected.
//
// A failure tells the first request of a phase that was not as expected, what
// differs, and what the gateway's Explain says of it. The test goes on: later
// steps may show more.
package policytest
