// Package redistest runs real Redis servers for tests: one server, a Cluster of three
// masters, or a master and its replica under three Sentinels.
//
//	func TestLimits(t *testing.T) {
//		srv := redistest.Start(t)
//		backend := open(t, srv.URL)
//		...
//		srv.Kill() // what happens without Redis?
//		...
//		srv.Restart()
//	}
//
// Every server is a redis-server (or valkey-server) process of its own, on loopback, on
// a port that no other test has, with an empty data set and no persistence. Arguments
// after t are passed to the server after ours and therefore win: redistest.Start(t,
// "--maxmemory", "2mb").
//
// A single server is up within some ten milliseconds, so let each test have its own. A
// Cluster takes above two seconds, because a Redis node waits that long before it
// believes in its cluster; share one among the tests of a package, with [LaunchCluster]
// from TestMain, or among the subtests of a test.
//
// # What happens when things fail
//
// Nothing is skipped. Where no server is installed, the test fails and says how to mend
// it. A port lost to another program is tried again elsewhere. When a test fails, the
// end of its servers' logs follows in the test's output. The servers end with the test,
// and on Linux also with the test binary, should that be killed.
//
// Under [Start] a method that cannot do its work fails the test. Under [Launch] there
// is no test to fail, and it panics.
package redistest
