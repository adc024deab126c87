package redistest

import (
	"context"
	"errors"
	"fmt"
	"net"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/redis/go-redis/v9"
	"github.com/redis/go-redis/v9/maintnotifications"
)

const (
	clusterNodes = 3
	clusterSlots = 16384
)

// Cluster is a Redis Cluster of three masters without replicas, each with a third of
// the slots.
type Cluster struct {
	Nodes  []*Server
	Addrs  []string             // of the nodes
	URL    string               // redis+cluster://a,b,c
	Client *redis.ClusterClient // a plain client for the test's own looking; closed with the cluster
}

// StartCluster runs a cluster until the test ends. args go to each node's command line.
func StartCluster(t testing.TB, args ...string) *Cluster {
	t.Helper()
	c, err := LaunchCluster(t.Context(), args...)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = c.Client.Close() })
	for _, s := range c.Nodes {
		s.endWith(t)
	}
	return c
}

// LaunchCluster is [StartCluster] for where there is no test, such as TestMain. The
// cluster runs until Close.
func LaunchCluster(ctx context.Context, args ...string) (_ *Cluster, err error) {
	ctx, cancel := context.WithTimeout(ctx, startTimeout)
	defer cancel()
	c := &Cluster{}
	defer func() {
		if err != nil {
			c.Close()
		}
	}()
	args = append([]string{
		"--cluster-enabled", "yes",
		"--cluster-config-file", "nodes.conf",
		"--cluster-announce-ip", "127.0.0.1",
		// Long enough that a busy machine breaks no cluster, short enough to await.
		"--cluster-node-timeout", "5000",
	}, args...)
	for range clusterNodes {
		s, err := Launch(ctx, args...)
		if err != nil {
			return nil, err
		}
		c.Nodes = append(c.Nodes, s)
		c.Addrs = append(c.Addrs, s.Addr)
	}
	if err := c.form(ctx); err != nil {
		return nil, fmt.Errorf("redistest: form a cluster of %s: %w", c.Addrs, err)
	}
	c.URL = "redis+cluster://" + strings.Join(c.Addrs, ",")
	if c.password() != "" {
		c.URL = "redis+cluster://:" + c.password() + "@" + strings.Join(c.Addrs, ",")
	}
	c.Client = redis.NewClusterClient(&redis.ClusterOptions{
		Addrs:                    c.Addrs,
		Password:                 c.password(),
		ContextTimeoutEnabled:    true,
		MaintNotificationsConfig: &maintnotifications.Config{Mode: maintnotifications.ModeDisabled},
	})
	return c, nil
}

func (c *Cluster) password() string { return c.Nodes[0].password() }

// form gives each node its slots, introduces them to each other, and waits until all of
// them agree.
func (c *Cluster) form(ctx context.Context) error {
	for i, s := range c.Nodes {
		first, last := i*clusterSlots/clusterNodes, (i+1)*clusterSlots/clusterNodes-1
		if err := s.Client.ClusterAddSlotsRange(ctx, first, last).Err(); err != nil {
			return fmt.Errorf("CLUSTER ADDSLOTS: %w", err)
		}
		// Distinct epochs from the start spare the nodes an election about them.
		if err := s.Client.Do(ctx, "CLUSTER", "SET-CONFIG-EPOCH", i+1).Err(); err != nil {
			return fmt.Errorf("CLUSTER SET-CONFIG-EPOCH: %w", err)
		}
	}
	for i, a := range c.Nodes {
		for _, b := range c.Nodes[i+1:] {
			host, port, err := net.SplitHostPort(b.Addr)
			if err != nil {
				return err
			}
			if err := a.Client.ClusterMeet(ctx, host, port).Err(); err != nil {
				return fmt.Errorf("CLUSTER MEET: %w", err)
			}
		}
	}
	return c.await(ctx)
}

// await returns when each node sees all the others and every slot served.
func (c *Cluster) await(ctx context.Context) error {
	want := []string{
		"cluster_state:ok",
		"cluster_known_nodes:" + strconv.Itoa(clusterNodes),
		"cluster_size:" + strconv.Itoa(clusterNodes),
		"cluster_slots_ok:" + strconv.Itoa(clusterSlots),
	}
	for _, s := range c.Nodes {
		if err := poll(ctx, func() error {
			info, err := s.Client.ClusterInfo(ctx).Result()
			if err != nil {
				return err
			}
			return containsAll(info, want)
		}); err != nil {
			return err
		}
	}
	return nil
}

// Close ends the cluster. [StartCluster] does so by itself.
func (c *Cluster) Close() {
	if c.Client != nil {
		_ = c.Client.Close()
	}
	for _, s := range c.Nodes {
		s.Close()
	}
}

// Kill ends node i as a crash would. After five seconds the others notice and, since
// its slots are now nobody's, refuse all commands.
func (c *Cluster) Kill(i int) { c.Nodes[i].Kill() }

// Pause freezes node i, until Resume.
func (c *Cluster) Pause(i int) { c.Nodes[i].Pause() }

// Resume ends a Pause.
func (c *Cluster) Resume(i int) { c.Nodes[i].Resume() }

// Restart starts node i again, empty, with the slots that it had, and returns when the
// whole cluster is well again, some two seconds later.
func (c *Cluster) Restart(i int) {
	s := c.Nodes[i]
	s.Restart()
	ctx, cancel := context.WithTimeout(context.Background(), startTimeout)
	defer cancel()
	if err := c.await(ctx); err != nil {
		s.fail(fmt.Errorf("redistest: the cluster of %s after a restart of %s: %w", c.Addrs, s.Addr, err))
	}
}

// FlushAll empties every node.
func (c *Cluster) FlushAll() {
	for _, s := range c.Nodes {
		s.FlushAll()
	}
}

// AssertEveryKeyExpires is [Server.AssertEveryKeyExpires] over every node.
func (c *Cluster) AssertEveryKeyExpires(t testing.TB, allowed ...string) int {
	t.Helper()
	total := 0
	for _, s := range c.Nodes {
		total += s.AssertEveryKeyExpires(t, allowed...)
	}
	return total
}

// CommandCount is [Server.CommandCount] summed over the nodes.
func (c *Cluster) CommandCount(t testing.TB, names ...string) int {
	t.Helper()
	total := 0
	for _, s := range c.Nodes {
		total += s.CommandCount(t, names...)
	}
	return total
}

// poll calls ready until it returns nil, or ctx ends: then with ready's last error.
func poll(ctx context.Context, ready func() error) error {
	for {
		err := ready()
		if err == nil {
			return nil
		}
		select {
		case <-ctx.Done():
			return errors.Join(err, ctx.Err())
		case <-time.After(10 * time.Millisecond):
		}
	}
}

// containsAll reports the first line of want that is no line of info.
func containsAll(info string, want []string) error {
	for _, line := range want {
		if !strings.Contains("\n"+info, "\n"+line+"\r\n") {
			return fmt.Errorf("want %q in %q", line, info)
		}
	}
	return nil
}
