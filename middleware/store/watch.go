package store

import (
	"context"
	"errors"
	"fmt"
	"strconv"
	"strings"
	"sync"
	"time"

	"github.com/redis/go-redis/v9"
)

// askEvery is how often Redis is asked for its [Facts], and askAgain when it did not answer.
const (
	askEvery = 5 * time.Second
	askAgain = 200 * time.Millisecond
)

// Facts is what Redis says of itself, by INFO.
type Facts struct {
	Version string // such as 7.2.4; of one of a Cluster's masters
	Mode    string // standalone, sentinel or cluster
	// MaxMemory is the bytes at which Redis is full; 0: it never is. Policy is what it does
	// then. Of a Cluster's masters they are those of one that could evict, if there is one.
	MaxMemory int64
	Policy    string
	// Replicas is how many replicas follow it, of a Cluster's masters the one that has fewest.
	Replicas int

	full bool // it refuses writes, by its own account
}

// Evicts reports whether a full Redis makes room by removing keys that have not expired.
func (f Facts) Evicts() bool { return f.MaxMemory > 0 && f.Policy != "noeviction" && f.Policy != "" }

// Facts returns what Redis has last said of itself; ok is false while it has said nothing.
func (r *Redis) Facts() (f Facts, ok bool) {
	if known := r.facts.Load(); known != nil {
		return *known, true
	}
	return Facts{}, false
}

// watch asks Redis at once, then every askEvery and when a breaker has closed, until ctx ends.
// Where the first question gets no answer, the breaker opens: a gateway whose Redis is away from
// the start says so before a request has to find out.
func (r *Redis) watch(ctx context.Context) {
	for first := true; ; first = false {
		pause := askEvery
		facts, err := r.Ask(ctx)
		switch {
		case err == nil:
			r.learn(facts)
		case ctx.Err() == nil && r.Available():
			r.pipelines.failed(fmt.Errorf("%w: %w", ErrUnavailable, err), first)
			pause = askAgain
		}
		select {
		case <-ctx.Done():
			return
		case <-r.back:
		case <-time.After(jittered(pause)):
		}
	}
}

// OnFacts has f called, in a goroutine of its own, with what Redis says of itself, now if that is
// known, and each time that it changes.
func (r *Redis) OnFacts(f func(Facts)) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.onFacts = append(r.onFacts, f)
	if known := r.facts.Load(); known != nil {
		go f(*known)
	}
}

// learn notes what Redis says, and logs it at first and when it has changed.
func (r *Redis) learn(f Facts) {
	if p := &r.pipelines.first.small; f.full && r.pipelines.cluster == nil && r.RefusesWrites() == nil {
		ctx, cancel := context.WithTimeout(context.Background(), r.timeout)
		if err := r.pipelines.write(ctx, p); err != nil && replied(err) && refusal(err) {
			r.refused(p, err)
		}
		cancel()
	}
	f.full = false
	r.mu.Lock()
	defer r.mu.Unlock()
	before := r.facts.Swap(&f)
	if before == nil || *before != f {
		for _, told := range r.onFacts {
			go told(f)
		}
		r.log.Info("redis is ready", "server", r.pipelines.first.small.name, "version", f.Version, "mode", f.Mode,
			"maxmemory", f.MaxMemory, "maxmemory_policy", f.Policy)
		if f.Replicas < r.waitReplicas {
			r.log.Warn("redis has fewer replicas than logins, logouts, blocks and jobs wait for: these are answered with 503",
				"server", r.pipelines.first.small.name, "replicas", f.Replicas, "wait_replicas", r.waitReplicas, "mend", "lower redis.wait_replicas, or start replicas")
		}
	}
}

// Ask asks Redis, in a Cluster each master, for its facts. An error says why commands would fail.
func (r *Redis) Ask(ctx context.Context) (Facts, error) {
	// Also a request that waits for less must not find out: here is time for a handshake.
	ctx, cancel := context.WithTimeout(ctx, max(r.timeout, 2*time.Second))
	defer cancel()
	cluster := r.pipelines.cluster
	if cluster == nil {
		f, err := factsOf(ctx, r.client)
		f.Mode = r.mode
		return f, err
	}
	var mu sync.Mutex // masters are asked concurrently
	all := Facts{}
	err := cluster.ForEachMaster(ctx, func(ctx context.Context, c *redis.Client) error {
		f, err := factsOf(ctx, c)
		if err != nil {
			return err
		}
		mu.Lock()
		defer mu.Unlock()
		fewest := f.Replicas
		if all.Version != "" {
			fewest = min(fewest, all.Replicas)
		}
		if all.Version == "" || f.Evicts() {
			all = f
		}
		all.Replicas = fewest
		return nil
	})
	all.Mode = r.mode
	return all, err
}

func factsOf(ctx context.Context, c redis.Cmdable) (f Facts, err error) {
	text, err := c.Info(ctx).Result()
	if err != nil {
		if replied(err) { // it serves, and does not tell
			return Facts{Version: "unknown"}, nil
		}
		return f, err
	}
	info := make(map[string]string)
	for line := range strings.Lines(text) {
		if name, value, ok := strings.Cut(strings.TrimSpace(line), ":"); ok {
			info[name] = value
		}
	}
	switch {
	case info["loading"] == "1":
		return f, errors.New("LOADING Redis is loading its data")
	case info["role"] == "slave":
		return f, errors.New("READONLY the server is a replica; name its master, or the Sentinels")
	}
	f.Version, f.Policy = info["redis_version"], info["maxmemory_policy"]
	if f.MaxMemory, err = strconv.ParseInt(info["maxmemory"], 10, 64); err != nil {
		f.MaxMemory = 0 // a server that does not know it
	}
	f.Replicas, _ = strconv.Atoi(info["connected_slaves"]) // 0 for a server that does not tell
	used, err := strconv.ParseInt(info["used_memory"], 10, 64)
	f.full = err == nil && f.MaxMemory > 0 && used >= f.MaxMemory && f.Policy == "noeviction"
	return f, nil
}
