package redistest_test

import (
	"net"
	"runtime"
	"testing"

	"github.com/redis/go-redis/v9"

	"github.com/headgate/headgate/internal/redistest"
)

func TestCorruptedRepliesAreNoReplies(t *testing.T) {
	t.Parallel()
	s := redistest.Start(t)
	p := redistest.StartProxy(t, s.Addr)
	client := redis.NewClient(&redis.Options{Addr: p.Addr, MaxRetries: -1})
	defer client.Close()
	if err := client.Set(t.Context(), "key", "value", 0).Err(); err != nil {
		t.Fatal(err)
	}
	p.Corrupt()
	if got, err := client.Get(t.Context(), "key").Result(); err == nil {
		t.Errorf("a corrupted reply is taken for %q", got)
	}
	p.Heal()
	if got, err := client.Get(t.Context(), "key").Result(); err != nil || got != "value" {
		t.Errorf("afterwards: %q, %v", got, err)
	}
}

// A client of a Cluster that begins at a proxy of 127.0.0.2 stays at the proxies there.
func TestProxiesKeepClientsOfAClusterAtTheirAddress(t *testing.T) {
	t.Parallel()
	if runtime.GOOS != "linux" {
		t.Skip("only Linux answers at 127.0.0.2 without more")
	}
	c := redistest.StartCluster(t)
	var addrs []string
	for _, s := range c.Nodes {
		_, port, _ := net.SplitHostPort(s.Addr)
		p, err := redistest.LaunchProxy("127.0.0.2:"+port, s.Addr)
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(p.Close)
		addrs = append(addrs, p.Addr)
	}
	client := redis.NewClusterClient(&redis.ClusterOptions{Addrs: addrs[:1]})
	defer client.Close()
	shards, err := client.ClusterShards(t.Context()).Result()
	if err != nil || len(shards) != 3 {
		t.Fatalf("%v, %v", shards, err)
	}
	for _, s := range shards {
		if s.Nodes[0].IP != "127.0.0.2" {
			t.Errorf("the client is told %s", s.Nodes[0].IP)
		}
	}
	for _, key := range []string{"a", "b", "c"} { // on three nodes
		if err := client.Set(t.Context(), key, "value", 0).Err(); err != nil {
			t.Error(err)
		}
	}
}
