package store

import (
	"context"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"github.com/redis/go-redis/v9"
)

const (
	slots = 16384
	// topologyEvery is how often the map from slots to lanes is refreshed.
	topologyEvery = 10 * time.Second
)

// lanes holds one lane per server: a single one, or one per Cluster master.
//
// In a Cluster the lanes only decide what travels together and whose breaker
// applies; the ClusterClient still routes each command, and follows MOVED
// and ASK. So a map that is out of date costs nothing but a redirect.
type lanes struct {
	redis   *Redis
	cluster *redis.ClusterClient // nil for a single server

	first *lane // the only lane, or the one used until the slots are known

	mu     sync.Mutex
	byAddr map[string]*lane
	table  atomic.Pointer[[slots]*lane]
}

func newLanes(r *Redis) *lanes {
	ls := &lanes{redis: r, byAddr: map[string]*lane{}}
	ls.first = &lane{name: "redis", redis: r}
	if c, ok := r.client.(*redis.ClusterClient); ok {
		ls.cluster = c
		ls.first.name = "cluster"
		r.background(ls.follow)
	}
	return ls
}

// many reports whether commands may belong to different lanes.
func (ls *lanes) many() bool { return ls.cluster != nil && ls.table.Load() != nil }

// of returns the lane of a command.
func (ls *lanes) of(c redis.Cmder) *lane {
	if ls.cluster == nil {
		return ls.first
	}
	table := ls.table.Load()
	if table == nil {
		return ls.first
	}
	if l := table[slotOf(firstKey(c))]; l != nil {
		return l
	}
	return ls.first
}

// part is what one lane gets of a caller's commands.
type part struct {
	lane *lane
	cmds []redis.Cmder
}

// split deals the commands out to their lanes, in order.
func (ls *lanes) split(cmds []redis.Cmder) []part {
	var parts []part
next:
	for _, c := range cmds {
		l := ls.of(c)
		for i := range parts {
			if parts[i].lane == l {
				parts[i].cmds = append(parts[i].cmds, c)
				continue next
			}
		}
		parts = append(parts, part{lane: l, cmds: []redis.Cmder{c}})
	}
	return parts
}

// follow keeps the table up to date until ctx ends.
func (ls *lanes) follow(ctx context.Context) {
	for {
		wait := topologyEvery
		if ls.refresh(ctx) != nil {
			wait = 100 * time.Millisecond
		}
		select {
		case <-ctx.Done():
			return
		case <-time.After(wait):
		}
	}
}

// refresh asks the Cluster which master has which slots.
func (ls *lanes) refresh(ctx context.Context) error {
	ctx, cancel := context.WithTimeout(ctx, time.Second)
	defer cancel()
	//lint:ignore SA1019 CLUSTER SHARDS, its successor, is not known to Redis 6
	ranges, err := ls.cluster.ClusterSlots(ctx).Result()
	if err != nil {
		return err
	}
	table := new([slots]*lane)
	for _, r := range ranges {
		if len(r.Nodes) == 0 {
			continue
		}
		l := ls.at(r.Nodes[0].Addr)
		for s := max(r.Start, 0); s <= min(r.End, slots-1); s++ {
			table[s] = l
		}
	}
	ls.table.Store(table)
	return nil
}

// at returns the lane of the master at addr.
func (ls *lanes) at(addr string) *lane {
	ls.mu.Lock()
	defer ls.mu.Unlock()
	l, ok := ls.byAddr[addr]
	if !ok {
		l = &lane{name: addr, redis: ls.redis}
		ls.byAddr[addr] = l
	}
	return l
}

// ping asks the server behind a lane whether it is there. In a Cluster it also
// asks for the topology again, since another server may have taken over.
func (ls *lanes) ping(ctx context.Context, l *lane) error {
	ctx, cancel := context.WithTimeout(ctx, ls.redis.timeout)
	defer cancel()
	if ls.cluster == nil {
		return ls.redis.client.Ping(ctx).Err()
	}
	ls.cluster.ReloadState(ctx)
	if err := ls.refresh(ctx); err != nil {
		return err
	}
	if l == ls.first {
		return nil // it stands for the Cluster as a whole, which has just answered
	}
	slot, owns := ls.slotOn(l)
	if !owns {
		return nil // its slots have moved; nothing will use this lane again
	}
	node, err := ls.cluster.MasterForKey(ctx, keyIn(slot))
	if err != nil {
		return err
	}
	return node.Ping(ctx).Err()
}

// slotOn returns a slot that the lane's server owns.
func (ls *lanes) slotOn(l *lane) (int, bool) {
	if table := ls.table.Load(); table != nil {
		for s, have := range table {
			if have == l {
				return s, true
			}
		}
	}
	return 0, false
}

func (ls *lanes) close() {
	ls.mu.Lock()
	defer ls.mu.Unlock()
	ls.first.close()
	for _, l := range ls.byAddr {
		l.close()
	}
}

// firstKey returns the key by which a command is routed, or "" where it has
// none.
func firstKey(c redis.Cmder) string {
	args := c.Args()
	at := 1
	if len(args) > 0 {
		if name, ok := args[0].(string); ok && strings.HasPrefix(strings.ToLower(name), "eval") {
			at = 3
		}
	}
	if len(args) <= at {
		return ""
	}
	key, _ := args[at].(string)
	return key
}
