package store_test

import (
	"context"
	"errors"
	"net"
	"strings"
	"testing"
	"time"

	"github.com/headgate/headgate/internal/redistest"
	"github.com/headgate/headgate/middleware/store"
	"github.com/redis/go-redis/v9"
)

func replicating(t *testing.T, url string) *store.Redis {
	t.Helper()
	r, err := store.Open(store.Options{URL: url, Timeout: 2 * time.Second, WriteTimeout: 4 * time.Second, WaitReplicas: 1})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = r.Close() })
	return r
}

// set sets a key by a script, which Redis does not know at first.
var set = store.NewScript("return redis.call('SET', KEYS[1], ARGV[1])")

// TestReplicatedWritesWaitForReplicas: what is confirmed is at a replica, and what none confirms is an
// error; other writes wait for none.
func TestReplicatedWritesWaitForReplicas(t *testing.T) {
	t.Parallel()
	primary := redistest.Start(t)
	host, port, _ := net.SplitHostPort(primary.Addr)
	replica := redistest.Start(t, "--replicaof", host+" "+port)
	r := replicating(t, primary.URL)
	ctx := context.Background()
	write := func(in context.Context, value string) error {
		call := set.Call([]string{"k"}, value)
		if err := r.Do(in, call, redis.NewStatusCmd(ctx, "set", "k2", value)); err != nil {
			return err
		}
		return call.Err()
	}
	eventually(t, "replicated", func() bool { return write(store.Replicated(ctx), "0") == nil })
	for _, value := range []string{"1", "2", "3"} {
		if err := write(store.Writing(store.Replicated(ctx)), value); err != nil {
			t.Fatal(err)
		}
		if got, err := replica.Client.Get(ctx, "k2").Result(); err != nil || got != value {
			t.Fatalf("the replica has %q, %v, of a confirmed write of %q", got, err, value)
		}
	}
	replica.Pause()
	defer replica.Resume()
	err := write(store.Replicated(ctx), "4")
	if !errors.Is(err, store.ErrUnavailable) || !strings.Contains(err.Error(), "0 of 1 replicas") {
		t.Errorf("with the replica standing still: %v", err)
	}
	if err := write(store.Writing(ctx), "5"); err != nil {
		t.Errorf("a write that waits for no replica: %v", err)
	}
	if !r.Available() {
		t.Error("a replica that stands still makes Redis unavailable")
	}
}

// TestAFailoverLosesNoReplicatedWrite, and clients go on at the new primary.
func TestAFailoverLosesNoReplicatedWrite(t *testing.T) {
	t.Parallel()
	w := redistest.StartSentinel(t)
	r := replicating(t, w.URL)
	ctx := context.Background()
	write := func(value string) error {
		call := set.Call([]string{"k"}, value)
		if err := r.Do(store.Replicated(ctx), call); err != nil {
			return err
		}
		return call.Err()
	}
	eventually(t, "replicated", func() bool { return write("before") == nil })
	w.Master.Kill()
	eventually(t, "the replica has become the primary", func() bool { return w.Current(t) == w.Replica })
	get := func() string {
		cmd := redis.NewStringCmd(ctx, "get", "k")
		if r.Do(ctx, cmd) != nil {
			return ""
		}
		return cmd.Val()
	}
	eventually(t, "what was confirmed is there", func() bool { return get() == "before" })
}

// TestReplicatedWritesInACluster ask the master that has the key, one of whose replicas confirms.
func TestReplicatedWritesInACluster(t *testing.T) {
	t.Parallel()
	c := redistest.StartCluster(t)
	r := replicating(t, c.URL)
	ctx := context.Background()
	write := func(key string) error {
		call := set.Call([]string{key}, "v")
		if err := r.Do(store.Replicated(ctx), call); err != nil {
			return err
		}
		return call.Err()
	}
	eventually(t, "none confirms where there is no replica", func() bool {
		err := write("a")
		return errors.Is(err, store.ErrUnavailable) && strings.Contains(err.Error(), "0 of 1")
	})
	replica := redistest.Start(t, "--cluster-enabled", "yes", "--cluster-config-file", "nodes.conf")
	master := c.Nodes[0]
	host, port, _ := net.SplitHostPort(master.Addr)
	if err := replica.Client.ClusterMeet(ctx, host, port).Err(); err != nil {
		t.Fatal(err)
	}
	id, err := master.Client.Do(ctx, "cluster", "myid").Text()
	if err != nil {
		t.Fatal(err)
	}
	eventually(t, "it is a replica", func() bool { return replica.Client.ClusterReplicate(ctx, id).Err() == nil })
	key := ""
	for _, k := range strings.Split("abcdefghijklmnopqrstuvwxyz", "") {
		if master.Client.Get(ctx, k).Err() == redis.Nil || master.Client.Get(ctx, k).Err() == nil {
			key = k
		}
	}
	eventually(t, "confirmed by the replica", func() bool { return write(key) == nil })
}
