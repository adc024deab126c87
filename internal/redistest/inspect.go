package redistest

import (
	"context"
	"fmt"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/redis/go-redis/v9"
)

// inspectTimeout bounds each look into a server, so that one which a test left paused
// can't hang it.
const inspectTimeout = 10 * time.Second

// FlushAll empties the server, all its databases.
func (s *Server) FlushAll() {
	ctx, cancel := context.WithTimeout(context.Background(), inspectTimeout)
	defer cancel()
	if err := s.Client.FlushAll(ctx).Err(); err != nil {
		s.fail(fmt.Errorf("redistest: FLUSHALL at %s: %w", s.Addr, err))
	}
}

// AssertEveryKeyExpires fails the test for each key, in any database, that would stay
// for ever, unless it begins with one of the allowed prefixes. It returns how many keys
// there are, so that a test can tell "all expire" from "there were none".
func (s *Server) AssertEveryKeyExpires(t testing.TB, allowed ...string) int {
	t.Helper()
	ctx, cancel := context.WithTimeout(context.Background(), inspectTimeout)
	defer cancel()
	total := 0
	for _, db := range s.databases(ctx, t) {
		immortal, n, err := s.immortalKeys(ctx, db)
		if err != nil {
			t.Fatalf("redistest: scanning database %d at %s: %v", db, s.Addr, err)
		}
		total += n
		for _, key := range immortal {
			if !slices.ContainsFunc(allowed, func(p string) bool { return strings.HasPrefix(key, p) }) {
				t.Errorf("key %q in database %d at %s never expires", key, db, s.Addr)
			}
		}
	}
	return total
}

var databaseLine = regexp.MustCompile(`(?m)^db(\d+):keys=`)

// databases lists the numbers of those that hold keys.
func (s *Server) databases(ctx context.Context, t testing.TB) []int {
	t.Helper()
	info, err := s.Client.Info(ctx, "keyspace").Result()
	if err != nil {
		t.Fatalf("redistest: INFO keyspace at %s: %v", s.Addr, err)
	}
	var dbs []int
	for _, m := range databaseLine.FindAllStringSubmatch(info, -1) {
		n, err := strconv.Atoi(m[1])
		if err != nil {
			t.Fatalf("redistest: INFO keyspace at %s: %v", s.Addr, err)
		}
		dbs = append(dbs, n)
	}
	return dbs
}

// immortalKeys are the keys of a database that have no expiry; n is how many keys there
// are.
func (s *Server) immortalKeys(ctx context.Context, db int) (immortal []string, n int, err error) {
	options := *s.Client.Options()
	options.DB = db
	client := redis.NewClient(&options)
	defer client.Close()

	seen := make(map[string]struct{}) // SCAN may tell a key twice
	for cursor := uint64(0); ; {
		keys, next, err := client.Scan(ctx, cursor, "*", 1000).Result()
		if err != nil {
			return nil, 0, err
		}
		keys = slices.DeleteFunc(keys, func(k string) bool { _, twice := seen[k]; return twice })
		ttls := make([]*redis.DurationCmd, len(keys))
		_, err = client.Pipelined(ctx, func(p redis.Pipeliner) error {
			for i, key := range keys {
				ttls[i] = p.PTTL(ctx, key)
			}
			return nil
		})
		if err != nil {
			return nil, 0, err
		}
		for i, key := range keys {
			seen[key] = struct{}{}
			if ttls[i].Val() == -1 { // -1: no expiry; -2: gone since
				immortal = append(immortal, key)
			}
		}
		if cursor = next; cursor == 0 {
			slices.Sort(immortal)
			return slices.Compact(immortal), len(seen), nil
		}
	}
}

// CommandCount tells how often the named commands have run since the server started,
// alone or inside a script. A name covers its subcommands: "script" counts SCRIPT LOAD.
// Without names it is all commands but those with which connections are kept and looked
// at: AUTH, CLIENT, CLUSTER, COMMAND, HELLO, INFO, PING, READONLY, ROLE and SELECT.
func (s *Server) CommandCount(t testing.TB, names ...string) int {
	t.Helper()
	ctx, cancel := context.WithTimeout(context.Background(), inspectTimeout)
	defer cancel()
	info, err := s.Client.Info(ctx, "commandstats").Result()
	if err != nil {
		t.Fatalf("redistest: INFO commandstats at %s: %v", s.Addr, err)
	}
	wanted := func(name string) bool { return !slices.Contains(upkeep, name) }
	if len(names) > 0 {
		wanted = func(name string) bool {
			return slices.ContainsFunc(names, func(n string) bool { return strings.EqualFold(n, name) })
		}
	}
	total := 0
	for _, m := range statLine.FindAllStringSubmatch(info, -1) {
		name, sub, calls := m[1], m[2], m[3]
		if !wanted(name) && !(sub != "" && len(names) > 0 && wanted(name+sub)) {
			continue
		}
		n, err := strconv.Atoi(calls)
		if err != nil {
			t.Fatalf("redistest: INFO commandstats at %s: %v", s.Addr, err)
		}
		total += n
	}
	return total
}

var (
	statLine = regexp.MustCompile(`(?m)^cmdstat_([^:|]+)(\|[^:]+)?:calls=(\d+)`)
	upkeep   = []string{"auth", "client", "cluster", "command", "hello", "info", "ping", "readonly", "role", "select"}
)
