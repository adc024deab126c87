package redistest

import (
	"context"
	"fmt"
	"net"
	"net/url"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"testing"

	"github.com/redis/go-redis/v9"
)

const (
	sentinels    = 3
	sentinelName = "headgate"
)

// Sentinel is a master and its replica, watched by three Sentinels that promote the
// replica within some two seconds of the master's end.
type Sentinel struct {
	Master    *Server   // at the start; see [Sentinel.Current]
	Replica   *Server   // at the start
	Sentinels []*Server // their Client speaks to a Sentinel, not to data

	Addrs  []string      // of the Sentinels
	Name   string        // of the master, as the Sentinels know it
	URL    string        // redis+sentinel://a,b,c/name
	Client *redis.Client // follows the master; closed with the rest
}

// StartSentinel runs the five servers until the test ends. args go to the command lines
// of master and replica. With "--requirepass" the Sentinels and the replica know the
// password of the master; the Sentinels themselves have none.
func StartSentinel(t testing.TB, args ...string) *Sentinel {
	t.Helper()
	w, err := LaunchSentinel(t.Context(), args...)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = w.Client.Close() })
	for _, s := range w.servers() {
		s.endWith(t)
	}
	return w
}

// LaunchSentinel is [StartSentinel] for where there is no test, such as TestMain. The
// servers run until Close.
func LaunchSentinel(ctx context.Context, args ...string) (_ *Sentinel, err error) {
	ctx, cancel := context.WithTimeout(ctx, startTimeout)
	defer cancel()
	w := &Sentinel{Name: sentinelName}
	defer func() {
		if err != nil {
			w.Close()
		}
	}()
	if i := slices.Index(args, "--requirepass"); i >= 0 && i+1 < len(args) {
		args = append([]string{"--masterauth", args[i+1]}, args...) // each may be the other's replica
	}
	if w.Master, err = Launch(ctx, args...); err != nil {
		return nil, err
	}
	password := w.Master.password()
	host, port, err := net.SplitHostPort(w.Master.Addr)
	if err != nil {
		return nil, err
	}
	if w.Replica, err = Launch(ctx, append([]string{"--replicaof", host + " " + port}, args...)...); err != nil {
		return nil, err
	}
	// A Sentinel looks for replicas once in ten seconds: have it there before they
	// come.
	if err := w.awaitReplica(ctx); err != nil {
		return nil, err
	}
	for range sentinels {
		s, err := launch(ctx, func(dir string, ownPort int) ([]string, error) {
			return sentinelCommandLine(dir, ownPort, host, port, password)
		})
		if err != nil {
			return nil, err
		}
		w.Sentinels = append(w.Sentinels, s)
		w.Addrs = append(w.Addrs, s.Addr)
		hurry(ctx, s)
	}
	if err := w.awaitSentinels(ctx); err != nil {
		return nil, err
	}
	w.URL = "redis+sentinel://" + strings.Join(w.Addrs, ",") + "/" + w.Name
	if password != "" {
		w.URL = "redis+sentinel://" + url.UserPassword("", password).String() + "@" + strings.Join(w.Addrs, ",") + "/" + w.Name
	}
	w.Client = redis.NewFailoverClient(&redis.FailoverOptions{
		MasterName:            w.Name,
		SentinelAddrs:         w.Addrs,
		Password:              password,
		ContextTimeoutEnabled: true,
	})
	return w, nil
}

// sentinelCommandLine writes the file that a Sentinel insists on, to keep its state
// there.
func sentinelCommandLine(dir string, ownPort int, masterHost, masterPort, masterPassword string) ([]string, error) {
	file := filepath.Join(dir, "sentinel.conf")
	conf := fmt.Sprintf(`port %d
bind 127.0.0.1
dir %q
sentinel monitor %[3]s %s %s 2
sentinel down-after-milliseconds %[3]s 1000
sentinel failover-timeout %[3]s 4000
`, ownPort, dir, sentinelName, masterHost, masterPort)
	if masterPassword != "" {
		conf += fmt.Sprintf("sentinel auth-pass %s %q\n", sentinelName, masterPassword)
	}
	if err := os.WriteFile(file, []byte(conf), 0o600); err != nil {
		return nil, err
	}
	return []string{file, "--sentinel"}, nil
}

// hurry shortens a Sentinel's periods of seconds. Servers before Redis 7 don't know the
// command and only take longer, so its error is of no interest.
func hurry(ctx context.Context, s *Server) {
	for name, milliseconds := range map[string]int{
		"info-period": 200, "ping-period": 200, "ask-period": 200, "publish-period": 200,
	} {
		_ = s.Client.Do(ctx, "SENTINEL", "DEBUG", name, strconv.Itoa(milliseconds)).Err()
	}
}

func (w *Sentinel) awaitReplica(ctx context.Context) error {
	err := poll(ctx, func() error {
		info, err := w.Replica.Client.Info(ctx, "replication").Result()
		if err != nil {
			return err
		}
		return containsAll(info, []string{"master_link_status:up"})
	})
	if err != nil {
		return fmt.Errorf("redistest: the replica at %s does not follow %s: %w", w.Replica.Addr, w.Master.Addr, err)
	}
	return nil
}

// awaitSentinels returns when each Sentinel knows the replica and the other two.
func (w *Sentinel) awaitSentinels(ctx context.Context) error {
	want := map[string]string{"flags": "master", "num-slaves": "1", "num-other-sentinels": strconv.Itoa(sentinels - 1)}
	for _, s := range w.Sentinels {
		err := poll(ctx, func() error {
			reply, err := s.Client.Do(ctx, "SENTINEL", "MASTER", w.Name).Result()
			if err != nil {
				return err
			}
			state := fmt.Sprint(reply)
			fields, _ := reply.(map[any]any)
			for name, value := range want {
				if fields[name] != value {
					return fmt.Errorf("want %s=%s in %s", name, value, state)
				}
			}
			return nil
		})
		if err != nil {
			return fmt.Errorf("redistest: the Sentinel at %s: %w", s.Addr, err)
		}
	}
	return nil
}

// Current is the server that the Sentinels take for the master now, which is the
// replica once it has been promoted.
func (w *Sentinel) Current(t testing.TB) *Server {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), inspectTimeout)
	defer cancel()
	var last error
	for _, s := range w.Sentinels {
		reply, err := s.Client.Do(ctx, "SENTINEL", "GET-MASTER-ADDR-BY-NAME", w.Name).StringSlice()
		if err != nil || len(reply) != 2 {
			last = fmt.Errorf("the Sentinel at %s says %q: %w", s.Addr, reply, err)
			continue
		}
		switch net.JoinHostPort(reply[0], reply[1]) {
		case w.Master.Addr:
			return w.Master
		case w.Replica.Addr:
			return w.Replica
		}
		last = fmt.Errorf("the Sentinel at %s says %q, who is neither of ours", s.Addr, reply)
	}
	t.Fatalf("redistest: which server is the master? %v", last)
	return nil
}

// Close ends all five servers. [StartSentinel] does so by itself.
func (w *Sentinel) Close() {
	if w.Client != nil {
		_ = w.Client.Close()
	}
	for _, s := range w.servers() {
		s.Close()
	}
}

func (w *Sentinel) servers() []*Server {
	all := append([]*Server{}, w.Sentinels...)
	for _, s := range []*Server{w.Master, w.Replica} {
		if s != nil {
			all = append(all, s)
		}
	}
	return all
}
