package replay

import (
	"cmp"
	"net/netip"
	"slices"
)

// clientKey identifies a client: by the owner of its API key where Headgate's log has it, otherwise by
// address, an IPv6 client by its prefix.
type clientKey struct {
	name string
	addr netip.Addr
}

func (k clientKey) String() string {
	switch {
	case k.name != "":
		return "client " + k.name
	case !k.addr.IsValid():
		return "unknown"
	}
	return k.addr.String()
}

// client counts the requests of one client.
type client struct {
	key         clientKey
	requests    int64
	bots        int64 // requests with the user agent of a bot
	agents      int64 // requests with a known user agent
	denied      int64
	dryRun      int64
	limits      []limitCount
	firstDenied int64
	lastSeen    int64
	agent       string // of the first denied request

	minute         int64 // the current one, in minutes since 1970
	minuteRequests int64
	minuteDenied   int64
	worstMinute    int64
	worstRequests  int64
	worstDenied    int64
	changed        [2]int64 // requests that the other policy does not deny, and those that it alone does
	touchedByDiff  bool
}

type limitCount struct {
	limit int
	n     int64
}

// maxClients bounds how many clients are counted at once. Beyond it a new client replaces one
// that was never denied: of the next 16 clients, the one whose last request is the longest ago.
const maxClients = 400_000

// clients counts by client, in bounded memory.
type clients struct {
	most  int
	byKey map[clientKey]*client
	all   []*client
	next  int   // index into all: where the search for a client to replace goes on
	seen  int64 // distinct ones, unless some were dropped
	// dropped says that clients were replaced, and count as new if they come
	// again, or that new ones were not counted because the 16 candidates all had denials.
	dropped bool
}

func newClients(most int) *clients {
	return &clients{most: most, byKey: make(map[clientKey]*client)}
}

// of returns a client's entry, which it makes if there is none; nil if there is no room for one.
func (c *clients) of(k clientKey) *client {
	if found := c.byKey[k]; found != nil {
		return found
	}
	c.seen++
	fresh := &client{key: k}
	if len(c.all) < c.most {
		c.all = append(c.all, fresh)
		c.byKey[k] = fresh
		return fresh
	}
	c.dropped = true
	replaced := -1
	for range 16 {
		if c.next++; c.next >= len(c.all) {
			c.next = 0
		}
		x := c.all[c.next]
		if x.denied == 0 && x.dryRun == 0 && !x.touchedByDiff && (replaced < 0 || x.lastSeen < c.all[replaced].lastSeen) {
			replaced = c.next
		}
	}
	if replaced < 0 {
		return nil
	}
	delete(c.byKey, c.all[replaced].key)
	c.all[replaced] = fresh
	c.byKey[k] = fresh
	return fresh
}

// count adds a request.
func (c *client) count(at int64, kind agentKind, v *verdict, agent string) {
	c.lastSeen = at
	c.requests++
	if kind != agentUnknown {
		c.agents++
	}
	if kind.looksLikeBot() {
		c.bots++
	}
	if minute := at / 60_000_000; minute != c.minute {
		c.endMinute()
		c.minute = minute
	}
	c.minuteRequests++
	if v.dryRun >= 0 {
		c.dryRun++
		c.addLimit(v.dryRun)
	}
	if v.outcome != denied {
		return
	}
	if c.denied == 0 {
		c.firstDenied, c.agent = at, agent
	}
	c.denied++
	c.minuteDenied++
	c.addLimit(v.limit)
}

func (c *client) addLimit(limit int) {
	for i := range c.limits {
		if c.limits[i].limit == limit {
			c.limits[i].n++
			return
		}
	}
	c.limits = append(c.limits, limitCount{limit, 1})
}

// endMinute compares the current minute with the worst one so far.
func (c *client) endMinute() {
	if c.minuteDenied > c.worstDenied {
		c.worstMinute, c.worstRequests, c.worstDenied = c.minute, c.minuteRequests, c.minuteDenied
	}
	c.minuteRequests, c.minuteDenied = 0, 0
}

// looksLikeBot reports whether most of its requests look like a bot's.
func (c *client) looksLikeBot() bool { return 2*c.bots > c.agents }

// top returns the n clients for which by is highest, leaving out those where it is 0.
func (c *clients) top(n int, by func(*client) int64) []*client {
	var found []*client
	for _, x := range c.all {
		if by(x) > 0 {
			found = append(found, x)
		}
	}
	slices.SortFunc(found, func(a, b *client) int {
		return cmp.Or(cmp.Compare(by(b), by(a)), a.key.addr.Compare(b.key.addr), cmp.Compare(a.key.name, b.key.name))
	})
	return found[:min(n, len(found))]
}
