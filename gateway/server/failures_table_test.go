package server_test

import (
	"context"
	"errors"
	"net"
	"strings"
	"testing"
	"time"

	"github.com/headgate/headgate/internal/redistest"
	"github.com/redis/go-redis/v9"
)

// failures are the rows of the table in docs/failures.md.
var failures = []failure{
	{"down", "it refuses connections", plainRedis(
		func(_ *testing.T, s *redistest.Server) { s.Stop() },
		func(_ *testing.T, s *redistest.Server) { s.Restart() },
		"--appendonly", "yes", "--appendfsync", "always"), asDown},
	{"slow", "each answer takes longer than `timeout`", slowRedis, asDown},
	{"hung", "it accepts and does not answer", plainRedis(
		func(_ *testing.T, s *redistest.Server) { s.Pause() },
		func(_ *testing.T, s *redistest.Server) { s.Resume() }), asDown},
	{"read-only", "a primary that was made a replica", plainRedis(
		func(t *testing.T, s *redistest.Server) { replicaOf(t, s, "127.0.0.1", "1") },
		func(t *testing.T, s *redistest.Server) { replicaOf(t, s, "no", "one") }), asDown},
	{"full", "with `noeviction`", plainRedis(
		func(t *testing.T, s *redistest.Server) { config(t, s, "maxmemory", "1") },
		func(t *testing.T, s *redistest.Server) { config(t, s, "maxmemory", "0") }),
		but(asDown, map[string]behaviour{"sessions": sessionsRead, "cache": cacheHere, "purges": purgesWork, "jobs": jobsFinish})},
	{"evicting", "full, with another `maxmemory-policy`: what the gateways have is evicted", plainRedis(evict, nil), but(asWell, map[string]behaviour{
		"limits": limitsAnew, "sessions": sessionsLost, "cache": cacheVoid, "jobs": jobsLost,
	})},
	{"flushed", "`FLUSHALL`", plainRedis(func(_ *testing.T, s *redistest.Server) { s.FlushAll() }, nil), but(asWell, map[string]behaviour{
		"limits": limitsAnew, "sessions": sessionsLost, "cache": cacheVoid, "jobs": jobsLost,
	})},
	{"restarted-empty", "without its data", plainRedis(func(_ *testing.T, s *redistest.Server) {
		s.Kill()
		s.Restart()
	}, nil), but(asWell, map[string]behaviour{
		"limits": limitsAnew, "sessions": sessionsLost, "cache": cacheVoid, "jobs": jobsLost,
	})},
	{"scripts-gone", "`SCRIPT FLUSH`", plainRedis(func(t *testing.T, s *redistest.Server) {
		if err := s.Client.ScriptFlush(context.Background()).Err(); err != nil {
			t.Fatal(err)
		}
	}, nil), asWell},
	{"failed-over", "by Sentinel: as `down` for some seconds, and then", failedOver, but(asWell, map[string]behaviour{"cache": cacheVoid})},
	{"resharding", "a Cluster's slots move to other masters", resharding, asWell},
	{"wrong-password", "it was changed, and connections are closed", plainRedis(
		func(t *testing.T, s *redistest.Server) {
			config(t, s, "requirepass", "another")
			do(t, s, "client", "kill", "type", "normal", "skipme", "yes")
		},
		func(t *testing.T, s *redistest.Server) { do(t, s, "config", "set", "requirepass", "") }), asDown},
	{"partitioned", "from one gateway, which this is about; the others go on", partitioned, asDown},
	{"clocks-apart", "those of the gateways, by a minute", clocksApart, asWell},
}

// do runs a command at a server, also while it wants another password.
func do(t *testing.T, s *redistest.Server, args ...any) {
	t.Helper()
	c := redis.NewClient(&redis.Options{Addr: s.Addr, Password: "another"})
	defer c.Close()
	if err := c.Do(context.Background(), args...).Err(); err != nil {
		t.Fatalf("%v: %v", args, err)
	}
}

func replicaOf(t *testing.T, s *redistest.Server, host, port string) {
	t.Helper()
	if err := s.Client.Do(context.Background(), "replicaof", host, port).Err(); err != nil {
		t.Fatal(err)
	}
}

func slowRedis(t *testing.T) redisToFail {
	s := redistest.Start(t)
	p := redistest.StartProxy(t, s.Addr)
	return redisToFail{urls: [2]string{p.URL, p.URL}, fail: func() { p.Delay(2 * time.Second) }, mend: p.Heal}
}

// evict has Redis evict all that the gateways have in it.
func evict(t *testing.T, s *redistest.Server) {
	t.Helper()
	ctx := context.Background()
	config(t, s, "maxmemory-policy", "allkeys-random", "maxmemory", "1")
	eventually(t, "all is evicted", func() bool {
		_ = s.Client.Set(ctx, "x", "x", 0).Err() // what would add has it evict
		n, err := s.Client.DBSize(ctx).Result()
		return err == nil && n == 0
	})
	config(t, s, "maxmemory", "0")
}

// failedOver kills the primary once the replica has all, and goes on when the replica was promoted.
func failedOver(t *testing.T) redisToFail {
	w := redistest.StartSentinel(t)
	return redisToFail{
		urls: [2]string{w.URL, w.URL}, returns: true,
		settle: func() {
			eventually(t, "the replica has all", func() bool {
				primary, err1 := w.Master.Client.DBSize(context.Background()).Result()
				replica, err2 := w.Replica.Client.DBSize(context.Background()).Result()
				offset := func(c *redis.Client, field string) string {
					_, rest, _ := strings.Cut(c.Info(context.Background(), "replication").Val(), field+":")
					value, _, _ := strings.Cut(rest, "\r\n")
					return value
				}
				return errors.Join(err1, err2) == nil && primary == replica &&
					offset(w.Master.Client, "master_repl_offset") == offset(w.Replica.Client, "slave_repl_offset")
			})
		},
		fail: func() {
			w.Master.Kill()
			eventually(t, "the replica is the primary", func() bool { return w.Current(t) == w.Replica })
		},
	}
}

// resharding moves the slots of a master's keys to another one. A slot that moves twice within the
// time that masters take to tell each other would be claimed by two of them.
func resharding(t *testing.T) redisToFail {
	c := redistest.StartCluster(t)
	return redisToFail{urls: [2]string{c.URL, c.URL}, returns: true, fail: func() {
		from, to := c.Nodes[0], c.Nodes[1]
		keys, err := from.Client.Keys(context.Background(), "*").Result()
		if err != nil || len(keys) == 0 {
			t.Fatalf("%d keys, %v", len(keys), err)
		}
		moved := map[int64]bool{}
		for _, key := range keys {
			if slot := from.Client.ClusterKeySlot(context.Background(), key).Val(); !moved[slot] {
				moved[slot] = true
				moveSlot(t, c, from, to, slot)
			}
		}
	}}
}

// moveSlot does what redis-cli --cluster reshard does with one slot.
func moveSlot(t *testing.T, c *redistest.Cluster, from, to *redistest.Server, slot int64) {
	t.Helper()
	ctx := context.Background()
	must := func(s *redistest.Server, args ...any) any {
		t.Helper()
		reply, err := s.Client.Do(ctx, args...).Result()
		if err != nil {
			t.Fatalf("%v: %v", args, err)
		}
		return reply
	}
	host, port, _ := net.SplitHostPort(to.Addr)
	fromID, toID := must(from, "cluster", "myid"), must(to, "cluster", "myid")
	must(to, "cluster", "setslot", slot, "importing", fromID)
	must(from, "cluster", "setslot", slot, "migrating", toID)
	for {
		keys := must(from, "cluster", "getkeysinslot", slot, 100).([]any)
		if len(keys) == 0 {
			break
		}
		must(from, append([]any{"migrate", host, port, "", 0, 5000, "replace", "keys"}, keys...)...)
	}
	must(to, "cluster", "setslot", slot, "node", toID)
	must(from, "cluster", "setslot", slot, "node", toID)
	for _, s := range c.Nodes {
		must(s, "cluster", "setslot", slot, "node", toID)
	}
}

func partitioned(t *testing.T) redisToFail {
	s := redistest.Start(t)
	p := redistest.StartProxy(t, s.Addr)
	return redisToFail{urls: [2]string{p.URL, s.URL}, fail: p.Cut, mend: p.Heal}
}

func clocksApart(t *testing.T) redisToFail {
	s := redistest.Start(t)
	return redisToFail{urls: [2]string{s.URL, s.URL}, skew: time.Minute}
}
