package store_test

import (
	"errors"
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/headgate/headgate/internal/redistest"
	"github.com/headgate/headgate/middleware/store"
	"github.com/redis/go-redis/v9"
)

// neverAbsent sends commands in all the ways that there are, until the breaker is open, and
// fails where one of them looks like an answer.
func neverAbsent(t *testing.T, r *store.Redis, want string) {
	t.Helper()
	eventually(t, "the breaker opens", func() bool {
		for name, do := range map[string]func(cmds ...redis.Cmder) error{
			"Do":      func(cmds ...redis.Cmder) error { return r.Do(t.Context(), cmds...) },
			"DoLarge": func(cmds ...redis.Cmder) error { return r.DoLarge(t.Context(), cmds...) },
			"Client": func(cmds ...redis.Cmder) error {
				for _, c := range cmds {
					if err := r.Client().Process(t.Context(), c); err == nil || errors.Is(err, redis.Nil) {
						return err
					}
				}
				return store.ErrUnavailable
			},
			"Client's pipeline": func(cmds ...redis.Cmder) error {
				pipe := r.Client().Pipeline()
				_ = pipe.BatchProcess(t.Context(), cmds...)
				_, _ = pipe.Exec(t.Context())
				for _, c := range cmds {
					if c.Err() == nil || errors.Is(c.Err(), redis.Nil) {
						return c.Err()
					}
				}
				return store.ErrUnavailable
			},
		} {
			get, all, call := redis.NewStringCmd(t.Context(), "get", "{k}"), redis.NewMapStringStringCmd(t.Context(), "hgetall", "{k}h"), increment.Call([]string{"{k}n"})
			err := do(get, all, call)
			if !errors.Is(err, store.ErrUnavailable) || errors.Is(err, redis.Nil) {
				t.Fatalf("%s: %v; want an error that wraps ErrUnavailable (%v, %v, %v)", name, err, get, all, call)
			}
		}
		return !r.Available()
	})
	eventually(t, "the reason is known: "+want, func() bool {
		err := r.Do(t.Context(), cmd("get", "k"))
		if err == nil {
			t.Fatal("a command succeeds")
		}
		return strings.Contains(err.Error(), want)
	})
}

// Redis replies to AUTH or SELECT with an error, and go-redis gives it to Exec, but to none of
// the commands: without more they look as if Redis had said that there is nothing.
func TestNoErrorOfAConnectionIsAnAbsence(t *testing.T) {
	t.Parallel()
	for name, tc := range map[string]struct {
		args   []string
		url    func(t *testing.T, s *redistest.Server) string // what is wrong from the start
		breaks func(do func(args ...any))                     // what goes wrong later
		mends  func(do func(args ...any))
		want   string
	}{
		"the password was changed": {
			args: []string{"--requirepass", "old"},
			breaks: func(do func(args ...any)) {
				do("config", "set", "requirepass", "new")
				do("client", "kill", "type", "normal")
			},
			mends: func(do func(args ...any)) { do("config", "set", "requirepass", "old") },
			want:  "WRONGPASS",
		},
		"the user was switched off": {
			url: func(t *testing.T, s *redistest.Server) string {
				if err := s.Client.ACLSetUser(t.Context(), "gate", "on", ">pw", "~*", "&*", "+@all").Err(); err != nil {
					t.Fatal(err)
				}
				return redistest.AsUser(t, s.URL, "gate", "pw")
			},
			breaks: func(do func(args ...any)) { do("acl", "setuser", "gate", "off"); do("client", "kill", "user", "gate") },
			mends:  func(do func(args ...any)) { do("acl", "setuser", "gate", "on") },
			want:   "WRONGPASS",
		},
		"a wrong password": {
			args: []string{"--requirepass", "right"},
			url:  func(t *testing.T, s *redistest.Server) string { return redistest.AsUser(t, s.URL, "", "wrong") },
			want: "WRONGPASS",
		},
		"no password": {
			args: []string{"--requirepass", "right"},
			url:  func(t *testing.T, s *redistest.Server) string { return "redis://" + s.Addr },
			want: "NOAUTH",
		},
		"no password, and a database": {
			args: []string{"--requirepass", "right"},
			url:  func(t *testing.T, s *redistest.Server) string { return "redis://" + s.Addr + "/1" },
			want: "NOAUTH",
		},
		"a database that is not there": {
			url:  func(t *testing.T, s *redistest.Server) string { return s.URL + "/99" },
			want: "DB index is out of range",
		},
		"a user who may not SELECT": {
			url: func(t *testing.T, s *redistest.Server) string {
				if err := s.Client.ACLSetUser(t.Context(), "gate", "on", ">pw", "~*", "&*", "+@all", "-select").Err(); err != nil {
					t.Fatal(err)
				}
				return redistest.AsUser(t, s.URL, "gate", "pw") + "/1"
			},
			want: "NOPERM",
		},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			server := redistest.Start(t, tc.args...)
			do := redistest.OneConnection(t, server.Client)
			do("set", "k", "there")
			url := server.URL
			if tc.url != nil {
				url = tc.url(t, server)
			}
			r := open(t, store.Options{URL: url, Timeout: 10 * time.Second})
			if tc.breaks != nil {
				if err := r.Do(t.Context(), increment.Call([]string{"{k}n"})); err != nil {
					t.Fatal(err)
				}
				tc.breaks(do)
			}
			neverAbsent(t, r, tc.want)
			if tc.mends != nil {
				tc.mends(do)
				recovers(t, r)
			}
		})
	}
}

func TestNoErrorOfASentinelIsAnAbsence(t *testing.T) {
	t.Parallel()
	w := redistest.StartSentinel(t, "--requirepass", "old")
	t.Run("healthy", func(t *testing.T) {
		r := open(t, store.Options{URL: w.URL, Timeout: 10 * time.Second})
		if err := r.Do(t.Context(), increment.Call([]string{"n"})); err != nil {
			t.Fatal(err)
		}
		do := redistest.OneConnection(t, w.Master.Client)
		do("config", "set", "requirepass", "new")
		do("client", "kill", "type", "normal")
		neverAbsent(t, r, "WRONGPASS")
		do("config", "set", "requirepass", "old")
		recovers(t, r)
	})
	t.Run("no such master", func(t *testing.T) {
		r := open(t, store.Options{URL: strings.Replace(w.URL, "/"+w.Name, "/other", 1), Timeout: 10 * time.Second})
		neverAbsent(t, r, "sentinel")
	})
	t.Run("a Sentinel's password", func(t *testing.T) {
		for _, s := range w.Sentinels {
			redistest.OneConnection(t, s.Client)("acl", "setuser", "default", "resetpass", ">sesame")
		}
		r := open(t, store.Options{URL: w.URL, Timeout: 10 * time.Second})
		neverAbsent(t, r, "NOAUTH")
		r = open(t, store.Options{URL: w.URL + "?sentinel_password=sesame", Timeout: 10 * time.Second})
		if err := r.Do(t.Context(), increment.Call([]string{"n"})); err != nil {
			t.Fatal(err)
		}
	})
}

func TestNoErrorOfAClustersConnectionIsAnAbsence(t *testing.T) {
	t.Parallel()
	cluster := redistest.StartCluster(t)
	url := strings.Replace(cluster.URL, "redis+cluster://", "redis+cluster://gate:pw@", 1)
	if url == cluster.URL {
		t.Fatalf("the cluster's URL is %s", url)
	}
	var masters []func(args ...any)
	for _, n := range cluster.Nodes {
		do := redistest.OneConnection(t, n.Client)
		masters = append(masters, do)
		do("acl", "setuser", "gate", "on", ">pw", "~*", "&*", "+@all")
	}
	r := open(t, store.Options{URL: url, Timeout: 10 * time.Second})
	for i := range 20 {
		if err := r.Do(t.Context(), increment.Call([]string{fmt.Sprint("n", i)})); err != nil {
			t.Fatal(err)
		}
	}
	for _, do := range masters {
		do("acl", "setuser", "gate", "off")
		do("client", "kill", "user", "gate")
	}
	neverAbsent(t, r, "WRONGPASS")
	for _, do := range masters {
		do("acl", "setuser", "gate", "on")
	}
	eventually(t, "all masters serve again", func() bool { return r.Available() })
	for _, do := range masters { // a command that is the connection's, not a caller's
		do("acl", "setuser", "gate", "-cluster")
	}
	late := open(t, store.Options{URL: url, Timeout: 10 * time.Second})
	neverAbsent(t, late, "NOPERM")
}

// A Batch whose first round trip failed has commands that were not answered, whatever a later one brought.
func TestABatchKeepsItsFirstError(t *testing.T) {
	t.Parallel()
	server := redistest.Start(t)
	r := open(t, store.Options{URL: server.URL, Timeout: 200 * time.Millisecond})
	batch := r.NewBatch()
	batch.Add(cmd("get", "k"))
	server.Pause()
	if err := batch.Send(t.Context()); !errors.Is(err, store.ErrUnavailable) {
		t.Fatalf("a paused server: %v", err)
	}
	server.Resume()
	eventually(t, "a second round trip succeeds", func() bool { return batch.Send(t.Context(), cmd("get", "k")) == nil })
	if err := batch.Err(); !errors.Is(err, store.ErrUnavailable) {
		t.Errorf("the batch says %v of the commands that were not answered", err)
	}
}
