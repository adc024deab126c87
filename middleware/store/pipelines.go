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
	// topologyEvery is how often the table from slots to servers is refreshed.
	topologyEvery = 10 * time.Second
)

// class is what a pipeline carries. A limit's check must not wait behind a megabyte, nor behind
// a round trip that may take as long as a write.
type class uint8

const (
	small      class = iota // checks, and what else is small
	large                   // large values: see [Redis.DoLarge]
	write                   // what an answer depends on: see [Writing]
	replicated              // what replicas must have as well, which may take the whole time: see [Replicated]
)

// server has the pipelines of one Redis server, by class.
type server struct {
	small, large, write, replicated pipeline
}

func newServer(r *Redis, name string) *server {
	s := &server{
		small: pipeline{name: name, redis: r, maxJobs: maxJobs, maxQueue: maxQueue},
		large: pipeline{name: name + " (large values)", redis: r, maxJobs: maxLargeJobs, maxQueue: maxLargeQueue, class: large},
		write: pipeline{name: name + " (writes)", redis: r, maxJobs: maxJobs, maxQueue: maxQueue, class: write},
	}
	s.replicated = pipeline{name: name + " (replicated writes)", redis: r, maxJobs: maxJobs, maxQueue: maxQueue, class: replicated}
	for _, p := range s.all() {
		p.server = s
	}
	return s
}

func (s *server) all() []*pipeline {
	return []*pipeline{&s.small, &s.large, &s.write, &s.replicated}
}

func (s *server) pipeline(c class) *pipeline {
	switch c {
	case large:
		return &s.large
	case write:
		return &s.write
	case replicated:
		return &s.replicated
	}
	return &s.small
}

func (s *server) close() {
	for _, p := range s.all() {
		p.close()
	}
}

// pipelines holds the pipelines of each server: of a single one, or of each Cluster master.
//
// In a Cluster they only decide which commands travel together and whose breaker
// applies; the ClusterClient still routes each command, and follows MOVED
// and ASK. So a table that is out of date costs a redirect and nothing else.
type pipelines struct {
	redis   *Redis
	cluster *redis.ClusterClient // nil for a single server

	first *server // the only one, or the one that stands for all until the slots are known

	mu     sync.Mutex
	byAddr map[string]*server
	closed bool
	table  atomic.Pointer[[slots]*server]
}

// newPipelines makes the pipelines; name is that of a single server.
func newPipelines(r *Redis, name string) *pipelines {
	ps := &pipelines{redis: r, byAddr: map[string]*server{}}
	if c, ok := r.client.(*redis.ClusterClient); ok {
		ps.cluster = c
		ps.first = newServer(r, "cluster")
	} else {
		ps.first = newServer(r, name)
	}
	return ps
}

// many reports whether commands may belong to different pipelines.
func (ps *pipelines) many() bool { return ps.cluster != nil && ps.table.Load() != nil }

// of returns the server that has a command's key.
func (ps *pipelines) of(c redis.Cmder) *server {
	if ps.cluster == nil {
		return ps.first
	}
	table := ps.table.Load()
	if table == nil {
		return ps.first
	}
	if s := table[slotOf(firstKey(c))]; s != nil {
		return s
	}
	return ps.first
}

// part is those of a caller's commands that go to one pipeline.
type part struct {
	pipeline *pipeline
	cmds     []redis.Cmder
}

// split sorts the commands by pipeline, and keeps their order.
func (ps *pipelines) split(cmds []redis.Cmder, c class) []part {
	var parts []part
next:
	for _, cmd := range cmds {
		p := ps.of(cmd).pipeline(c)
		for i := range parts {
			if parts[i].pipeline == p {
				parts[i].cmds = append(parts[i].cmds, cmd)
				continue next
			}
		}
		parts = append(parts, part{pipeline: p, cmds: []redis.Cmder{cmd}})
	}
	return parts
}

// follow keeps the table up to date until ctx ends.
func (ps *pipelines) follow(ctx context.Context) {
	for {
		wait := topologyEvery
		if ps.refresh(ctx) != nil {
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
func (ps *pipelines) refresh(ctx context.Context) error {
	ctx, cancel := context.WithTimeout(ctx, time.Second)
	defer cancel()
	//lint:ignore SA1019 CLUSTER SHARDS, its successor, is not known to Redis 6
	ranges, err := ps.cluster.ClusterSlots(ctx).Result()
	if err != nil {
		return err
	}
	table := new([slots]*server)
	for _, r := range ranges {
		if len(r.Nodes) == 0 {
			continue
		}
		master := ps.at(r.Nodes[0].Addr)
		for s := max(r.Start, 0); s <= min(r.End, slots-1); s++ {
			table[s] = master
		}
	}
	ps.table.Store(table)
	return nil
}

// at returns the master at addr.
func (ps *pipelines) at(addr string) *server {
	ps.mu.Lock()
	defer ps.mu.Unlock()
	s, ok := ps.byAddr[addr]
	if !ok {
		s = newServer(ps.redis, addr)
		if ps.closed {
			s.close()
		}
		ps.byAddr[addr] = s
	}
	return s
}

// failed counts a question about the facts that was not answered, like a round trip: a gateway
// without traffic notices as well. At the start it opens the breaker at once. It is about the only
// server, or what stands for a Cluster while its slots are not known.
func (ps *pipelines) failed(err error, atStart bool) {
	p := &ps.first.small
	switch {
	case ps.many():
	case atStart:
		p.note(p.breaker.trip(err), err)
	default:
		p.note(p.breaker.record(err), err)
	}
}

// probe asks the server behind a pipeline whether it serves, by writing a key
// that expires after a second: a PING would not do, since a replica and a Cluster
// that is down answer it too. In a Cluster it also asks for the topology again,
// since another server may have taken over.
func (ps *pipelines) probe(ctx context.Context, p *pipeline) error { return unserved(ps.write(ctx, p)) }

// write writes a probe to the server behind a pipeline, and returns what it replied.
func (ps *pipelines) write(ctx context.Context, p *pipeline) error {
	ctx, cancel := context.WithTimeout(ctx, ps.redis.timeout)
	defer cancel()
	write := redis.NewStatusCmd(ctx, "set", ps.redis.Key("probe"), "1", "px", 1000)
	if ps.cluster == nil {
		return ps.redis.client.Process(ctx, write)
	}
	ps.cluster.ReloadState(ctx)
	if err := ps.refresh(ctx); err != nil {
		return err
	}
	if p.server == ps.first {
		return nil // first stands for the whole Cluster, which has just replied
	}
	slot, owns := ps.slotOn(p.server)
	if !owns {
		return nil // its slots have moved, and no command will use this pipeline again
	}
	key := ps.redis.Key("probe", "{"+keyIn(slot)+"}")
	node, err := ps.cluster.MasterForKey(ctx, key)
	if err != nil {
		return err
	}
	write.Args()[1] = key
	return node.Process(ctx, write)
}

// unserved drops an error that is Redis' reply to the probe: a Redis that replies
// that it has no memory left, or that the probe has no permission, does serve.
func unserved(err error) error {
	if err != nil && replied(err) {
		return nil
	}
	return err
}

// slotOn returns a slot that the server owns.
func (ps *pipelines) slotOn(s *server) (int, bool) {
	if table := ps.table.Load(); table != nil {
		for slot, have := range table {
			if have == s {
				return slot, true
			}
		}
	}
	return 0, false
}

func (ps *pipelines) close() {
	ps.mu.Lock()
	defer ps.mu.Unlock()
	ps.closed = true
	ps.first.close()
	for _, s := range ps.byAddr {
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
