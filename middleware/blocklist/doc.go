// Package blocklist refuses clients whose networks an operator has blocked at run time.
//
//	list, err := blocklist.New(blocklist.Options{Redis: redis})
//	...
//	go list.Follow(ctx)
//	e.Use(resolver.Middleware(), list.Middleware())
//	...
//	outcome, err := list.Add(ctx, blocklist.Block{Network: network, Reason: "guesses passwords"}, time.Hour)
//
// # How a block reaches all instances
//
// Redis holds the blocks, under versions that grow with every change. Each instance has a copy of
// them, a table that answers in the time of a binary search: no request asks Redis. Follow keeps the
// copy up to date, by a message for each change and by asking for what has changed since its version
// every 400 ms, for messages that are lost; each time it says how far it has come. Add and Remove
// return when every instance has come so far, or after a second; their [Outcome] names those that
// have not.
//
// # What is promised, and what when things fail
//
//   - A block ends by the clock of each instance, which goes by Redis' time as it was last told, so
//     that neither a Redis that is away nor a clock that is wrong prolongs it.
//   - While Redis is away the last known blocks stay in force. Add and Remove fail then, and change
//     nothing.
//   - A Redis that has lost its data (FLUSHALL, a restart without persistence, a failover that lost
//     the newest writes) gets the blocks again from the instances that know them.
//   - Blocks outlive instances, and are there before an instance that starts answers, if [List.Ready]
//     is called.
//   - There are never more than Options.Max blocks; beyond that Add fails.
//   - Without Redis the blocks live in this process.
//
// Networks are compared with addresses in the form that clientip gives them: IPv4-mapped IPv6 is
// IPv4, and there are no zones. Networks of IPv6 hold no IPv4 address.
package blocklist
