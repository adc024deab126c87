//go:build linux

package main

import (
	"context"
	"errors"
	"fmt"
	"net"
	"strings"

	"github.com/headgate/headgate/internal/redistest"
)

// durable has Redis lose nothing that it has confirmed when it is killed.
var durable = []string{"--appendonly", "yes", "--appendfsync", "always"}

// topology is Redis, in one of the forms in which it is run.
type topology struct {
	name     string
	url      string
	servers  []*redistest.Server // that have data
	others   []*redistest.Server // Sentinels
	replicas int                 // wait_replicas
	healthy  func(context.Context) error
	reshard  func(context.Context, int) (int, error) // moves slots, by a number that chooses; nil but for a Cluster
	close    func()
}

var topologies = []string{"standalone", "sentinel", "cluster"}

func launchRedis(ctx context.Context, name string) (*topology, error) {
	switch name {
	case "standalone":
		s, err := redistest.Launch(ctx, durable...)
		if err != nil {
			return nil, err
		}
		return &topology{name: name, url: s.URL, servers: []*redistest.Server{s}, close: s.Close,
			healthy: func(ctx context.Context) error { return s.Client.Ping(ctx).Err() }}, nil
	case "sentinel":
		w, err := redistest.LaunchSentinel(ctx, durable...)
		if err != nil {
			return nil, err
		}
		t := &topology{name: name, url: w.URL, servers: []*redistest.Server{w.Master, w.Replica}, others: w.Sentinels, replicas: 1, close: w.Close}
		t.healthy = func(ctx context.Context) error { return followed(ctx, w) }
		return t, nil
	case "cluster":
		c, err := redistest.LaunchCluster(ctx, durable...)
		if err != nil {
			return nil, err
		}
		t := &topology{name: name, url: c.URL, servers: c.Nodes, close: c.Close}
		t.healthy = func(ctx context.Context) error { return complete(ctx, c) }
		t.reshard = func(ctx context.Context, choice int) (int, error) { return reshard(ctx, c, choice) }
		return t, nil
	}
	return nil, fmt.Errorf("there is no topology %q; choose of %s", name, strings.Join(topologies, ", "))
}

// link puts a proxy between a gateway and each server of Redis. The gateway has a loopback address of
// its own for Redis, at which the proxies have their servers' ports. It returns Redis' URL there.
func (t *topology) link(host string) (links []*redistest.Proxy, url string, err error) {
	for _, s := range append(append([]*redistest.Server{}, t.servers...), t.others...) {
		_, port, err := net.SplitHostPort(s.Addr)
		if err != nil {
			return links, "", err
		}
		p, err := redistest.LaunchProxy(net.JoinHostPort(host, port), s.Addr)
		if err != nil {
			return links, "", err
		}
		links = append(links, p)
	}
	return links, strings.ReplaceAll(t.url, "127.0.0.1", host), nil
}

// followed returns nil when the Sentinels agree on a master, and the other server follows it.
func followed(ctx context.Context, w *redistest.Sentinel) error {
	var master []string
	for _, s := range w.Sentinels {
		at, err := s.Client.Do(ctx, "SENTINEL", "GET-MASTER-ADDR-BY-NAME", w.Name).StringSlice()
		if err != nil {
			return err
		}
		if master != nil && strings.Join(at, ":") != strings.Join(master, ":") {
			return fmt.Errorf("the Sentinels name %v and %v", master, at)
		}
		master = at
	}
	for _, s := range []*redistest.Server{w.Master, w.Replica} {
		info, err := s.Client.Info(ctx, "replication").Result()
		if err != nil {
			return err
		}
		want := "master_link_status:up\r\n"
		if s.Addr == strings.Join(master, ":") {
			want = "state=online"
		}
		if !strings.Contains(info, want) {
			return fmt.Errorf("%s has no %q", s.Addr, want)
		}
	}
	return nil
}

// complete returns nil when each node sees all slots served.
func complete(ctx context.Context, c *redistest.Cluster) error {
	for _, s := range c.Nodes {
		info, err := s.Client.ClusterInfo(ctx).Result()
		if err != nil {
			return err
		}
		for _, want := range []string{"cluster_state:ok\r\n", "cluster_slots_ok:16384\r\n", "cluster_size:3\r\n"} {
			if !strings.Contains(info, want) {
				return fmt.Errorf("%s has no %q", s.Addr, want)
			}
		}
	}
	return nil
}

// reshard moves up to 40 slots that hold keys from one node to another while clients use them, and
// returns how many it has moved.
func reshard(ctx context.Context, c *redistest.Cluster, choice int) (moved int, err error) {
	from := c.Nodes[choice%len(c.Nodes)]
	to := c.Nodes[(choice+1)%len(c.Nodes)]
	keys, _, err := from.Client.Scan(ctx, 0, "*", 1000).Result()
	if err != nil {
		return 0, err
	}
	slots := map[int64]bool{}
	for _, k := range keys {
		slot, err := from.Client.ClusterKeySlot(ctx, k).Result()
		if err != nil {
			return moved, err
		}
		if slots[slot] || len(slots) == 40 {
			continue
		}
		slots[slot] = true
		if err := moveSlot(ctx, c, from, to, slot); err != nil {
			return moved, fmt.Errorf("move slot %d from %s to %s: %w", slot, from.Addr, to.Addr, err)
		}
		moved++
	}
	return moved, nil
}

func moveSlot(ctx context.Context, c *redistest.Cluster, from, to *redistest.Server, slot int64) error {
	source, err := from.Client.Do(ctx, "CLUSTER", "MYID").Text()
	target, err2 := to.Client.Do(ctx, "CLUSTER", "MYID").Text()
	if err := errors.Join(err, err2); err != nil {
		return err
	}
	if err := to.Client.Do(ctx, "CLUSTER", "SETSLOT", slot, "IMPORTING", source).Err(); err != nil {
		return err
	}
	if err := from.Client.Do(ctx, "CLUSTER", "SETSLOT", slot, "MIGRATING", target).Err(); err != nil {
		return err
	}
	host, port, _ := net.SplitHostPort(to.Addr)
	for {
		keys, err := from.Client.ClusterGetKeysInSlot(ctx, int(slot), 100).Result()
		if err != nil {
			return err
		}
		if len(keys) == 0 {
			break
		}
		args := []any{"MIGRATE", host, port, "", 0, 5000, "KEYS"}
		for _, k := range keys {
			args = append(args, k)
		}
		if err := from.Client.Do(ctx, args...).Err(); err != nil {
			return err
		}
	}
	// First the new owner, as Redis' documentation says, then the old one, then the others.
	for _, s := range append([]*redistest.Server{to, from}, c.Nodes...) {
		if err := s.Client.Do(ctx, "CLUSTER", "SETSLOT", slot, "NODE", target).Err(); err != nil {
			return err
		}
	}
	return nil
}
