package redistest_test

import (
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/redis/go-redis/v9"

	"github.com/headgate/headgate/internal/redistest"
)

func TestKeysWithoutExpiryAreNamed(t *testing.T) {
	t.Parallel()
	srv := redistest.Start(t)
	ctx := t.Context()
	for i := range 2500 { // several pages of SCAN
		if err := srv.Client.Set(ctx, fmt.Sprint("mortal-", i), "v", time.Hour).Err(); err != nil {
			t.Fatal(err)
		}
	}
	rec := &recorder{TB: t}
	if n := srv.AssertEveryKeyExpires(rec); n != 2500 || len(rec.errors) > 0 {
		t.Errorf("%d keys, complaints %q", n, rec.errors)
	}

	srv.Client.Set(ctx, "immortal", "v", 0)
	srv.Client.Set(ctx, "log:1", "v", 0)
	db3 := redis.NewClient(&redis.Options{Addr: srv.Addr, DB: 3})
	defer db3.Close()
	db3.Set(ctx, "elsewhere", "v", 0)

	if n := srv.AssertEveryKeyExpires(rec, "log:"); n != 2503 {
		t.Errorf("saw %d keys of 2503", n)
	}
	all := strings.Join(rec.errors, "\n")
	if len(rec.errors) != 2 || !strings.Contains(all, `"immortal"`) || !strings.Contains(all, `"elsewhere"`) {
		t.Errorf("complaints %q", rec.errors)
	}

	srv.FlushAll()
	if n := srv.AssertEveryKeyExpires(t); n != 0 {
		t.Errorf("%d keys after FlushAll", n)
	}
}

func TestCommandsAreCounted(t *testing.T) {
	t.Parallel()
	srv := redistest.Start(t)
	ctx := t.Context()
	if n := srv.CommandCount(t); n != 0 {
		t.Errorf("a new server has run %d commands", n)
	}
	srv.Client.Ping(ctx)
	set(t, srv.Client, "a")
	set(t, srv.Client, "b")
	srv.Client.Get(ctx, "a")
	srv.Client.Eval(ctx, "return redis.call('GET', KEYS[1])", []string{"b"})
	srv.Client.ScriptLoad(ctx, "return 1")

	for _, c := range []struct {
		names []string
		want  int
	}{
		{nil, 6}, // PING aside
		{[]string{"set"}, 2},
		{[]string{"GET"}, 2},
		{[]string{"get", "set"}, 4},
		{[]string{"eval"}, 1},
		{[]string{"script"}, 1},
		{[]string{"script|load"}, 1},
		{[]string{"ping"}, 2}, // one was ours, to see the server up
		{[]string{"del"}, 0},
	} {
		if n := srv.CommandCount(t, c.names...); n != c.want {
			t.Errorf("%q: %d, want %d", c.names, n, c.want)
		}
	}
}
