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

// server is the lanes of one Redis server. Large values travel apart: a
// decision on a limit must not wait behind somebody's megabyte.
type server struct {
	small, large lane
}

func newServer(r *Redis, name string) *server {
	s := &server{
		small: lane{name: name, redis: r, maxBatch: maxBatch, maxQueue: maxQueue},
		large: lane{name: name + " (large values)", redis: r, maxBatch: maxLargeBatch, maxQueue: maxLargeQueue, large: true},
	}
	s.small.server, s.large.server = s, s
	return s
}

func (s *server) lane(large bool) *lane {
	if large {
		return &s.large
	}
	return &s.small
}

func (s *server) close() {
	s.small.close()
	s.large.close()
}

// lanes holds the lanes of each server: of a single one, or of each Cluster master.
//
// In a Cluster the lanes only decide what travels together and whose breaker
// applies; the ClusterClient still routes each command, and follows MOVED
// and ASK. So a map that is out of date costs nothing but a redirect.
type lanes struct {
	redis   *Redis
	cluster *redis.ClusterClient // nil for a single server

	first *server // the only one, or the one that stands for all until the slots are known

	mu     sync.Mutex
	byAddr map[string]*server
	closed bool
	table  atomic.Pointer[[slots]*server]
}

func newLanes(r *Redis) *lanes {
	ls := &lanes{redis: r, byAddr: map[string]*server{}}
	if c, ok := r.client.(*redis.ClusterClient); ok {
		ls.cluster = c
		ls.first = newServer(r, "cluster")
	} else {
		ls.first = newServer(r, "redis")
	}
	return ls
}

// many reports whether commands may belong to different lanes.
func (ls *lanes) many() bool { return ls.cluster != nil && ls.table.Load() != nil }

// of returns the server that has a command's key.
func (ls *lanes) of(c redis.Cmder) *server {
	if ls.cluster == nil {
		return ls.first
	}
	table := ls.table.Load()
	if table == nil {
		return ls.first
	}
	if s := table[slotOf(firstKey(c))]; s != nil {
		return s
	}
	return ls.first
}

// part is what one lane gets of a caller's commands.
type part struct {
	lane *lane
	cmds []redis.Cmder
}

// split deals the commands out to their lanes, in order.
func (ls *lanes) split(cmds []redis.Cmder, large bool) []part {
	var parts []part
next:
	for _, c := range cmds {
		l := ls.of(c).lane(large)
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
	table := new([slots]*server)
	for _, r := range ranges {
		if len(r.Nodes) == 0 {
			continue
		}
		master := ls.at(r.Nodes[0].Addr)
		for s := max(r.Start, 0); s <= min(r.End, slots-1); s++ {
			table[s] = master
		}
	}
	ls.table.Store(table)
	return nil
}

// at returns the master at addr.
func (ls *lanes) at(addr string) *server {
	ls.mu.Lock()
	defer ls.mu.Unlock()
	s, ok := ls.byAddr[addr]
	if !ok {
		s = newServer(ls.redis, addr)
		if ls.closed {
			s.close()
		}
		ls.byAddr[addr] = s
	}
	return s
}

// probe asks the server behind a lane whether it serves: by writing a key that
// is gone a second later, since a replica, and a Cluster that is down, answer
// a PING like any other. In a Cluster it also asks for the topology again, since
// another server may have taken over.
func (ls *lanes) probe(ctx context.Context, l *lane) error {
	ctx, cancel := context.WithTimeout(ctx, ls.redis.timeout)
	defer cancel()
	write := redis.NewStatusCmd(ctx, "set", ls.redis.Key("probe"), "1", "px", 1000)
	if ls.cluster == nil {
		return unserved(ls.redis.client.Process(ctx, write))
	}
	ls.cluster.ReloadState(ctx)
	if err := ls.refresh(ctx); err != nil {
		return err
	}
	if l.server == ls.first {
		return nil // it stands for the Cluster as a whole, which has just answered
	}
	slot, owns := ls.slotOn(l.server)
	if !owns {
		return nil // its slots have moved; nothing will use this lane again
	}
	key := ls.redis.Key("probe", "{"+keyIn(slot)+"}")
	node, err := ls.cluster.MasterForKey(ctx, key)
	if err != nil {
		return err
	}
	write.Args()[1] = key
	return unserved(node.Process(ctx, write))
}

// unserved drops an error that is Redis' answer to the probe: whoever answers
// that there is no memory left, or no permission, is there.
func unserved(err error) error {
	if err != nil && answered(err) {
		return nil
	}
	return err
}

// slotOn returns a slot that the server owns.
func (ls *lanes) slotOn(s *server) (int, bool) {
	if table := ls.table.Load(); table != nil {
		for slot, have := range table {
			if have == s {
				return slot, true
			}
		}
	}
	return 0, false
}

func (ls *lanes) close() {
	ls.mu.Lock()
	defer ls.mu.Unlock()
	ls.closed = true
	ls.first.close()
	for _, s := range ls.byAddr {
		s.close()
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
