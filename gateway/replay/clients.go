package replay

import (
	"cmp"
	"net/netip"
	"slices"
)

// clientKey tells clients apart: by the owner of the API key where our own log
// tells it, otherwise by address, an IPv6 client by its prefix.
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

// client is what is known of one client.
type client struct {
	key         clientKey
	requests    int64
	bots        int64 // of them, those whose user agent looks like a bot's
	agents      int64 // of them, those whose user agent is known
	denied      int64
	dryRun      int64
	limits      []limitCount
	firstDenied int64
	lastSeen    int64
	agent       string // of the first denied request

	minute        int64 // the one at hand, in minutes since 1970
	minuteSeen    int64
	minuteDenied  int64
	worst         int64
	worstSeen     int64
	worstDenied   int64
	changed       [2]int64 // requests that the other policy does not deny, and those that it alone does
	touchedByDiff bool
}

type limitCount struct {
	limit int
	n     int64
}

// maxClients bounds how many clients are told apart at once. Beyond it those
// that were never denied make room, the longest unseen of a few first.
const maxClients = 400_000

// clients counts by client, in bounded memory.
type clients struct {
	most  int
	byKey map[clientKey]*client
	all   []*client
	hand  int
	seen  int64 // distinct ones, unless some were dropped
	// dropped says that some had to make room: they count anew when they come
	// again, and if all were denied ones, newcomers go uncounted.
	dropped bool
}

func newClients(most int) *clients {
	return &clients{most: most, byKey: make(map[clientKey]*client)}
}

// of returns a client's entry, or nil where there is no room for another one.
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
	victim := -1
	for range 16 {
		if c.hand++; c.hand >= len(c.all) {
			c.hand = 0
		}
		x := c.all[c.hand]
		if x.denied == 0 && x.dryRun == 0 && !x.touchedByDiff && (victim < 0 || x.lastSeen < c.all[victim].lastSeen) {
			victim = c.hand
		}
	}
	if victim < 0 {
		return nil
	}
	delete(c.byKey, c.all[victim].key)
	c.all[victim] = fresh
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
	c.minuteSeen++
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

// endMinute compares the minute at hand with the worst one so far.
func (c *client) endMinute() {
	if c.minuteDenied > c.worstDenied {
		c.worst, c.worstSeen, c.worstDenied = c.minute, c.minuteSeen, c.minuteDenied
	}
	c.minuteSeen, c.minuteDenied = 0, 0
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
