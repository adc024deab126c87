package redistest_test

import (
	"fmt"
	"testing"
	"time"

	"github.com/redis/go-redis/v9"

	"github.com/headgate/headgate/internal/redistest"
)

func TestCluster(t *testing.T) {
	t.Parallel()
	c := redistest.StartCluster(t)
	ctx := t.Context()

	t.Run("spreads keys over three masters", func(t *testing.T) {
		for i := range 100 {
			set(t, c.Client, fmt.Sprint("k", i))
		}
		for i, s := range c.Nodes {
			if n := s.Client.DBSize(ctx).Val(); n == 0 {
				t.Errorf("node %d holds nothing", i)
			}
		}
		if n := c.CommandCount(t, "set"); n != 100 {
			t.Errorf("%d SETs, want 100", n)
		}
	})
	t.Run("names keys without expiry on any node", func(t *testing.T) {
		rec := &recorder{TB: t}
		if n := c.AssertEveryKeyExpires(rec); n != 100 || len(rec.errors) > 0 {
			t.Errorf("%d keys, complaints %q", n, rec.errors)
		}
		for i := range 30 {
			c.Client.Set(ctx, fmt.Sprint("immortal", i), "v", 0)
		}
		if n := c.AssertEveryKeyExpires(rec); n != 130 || len(rec.errors) != 30 {
			t.Errorf("%d keys, %d complaints", n, len(rec.errors))
		}
		c.FlushAll()
		if n := c.AssertEveryKeyExpires(t); n != 0 {
			t.Errorf("%d keys after FlushAll", n)
		}
	})
	t.Run("loses one node alone and gets it back", func(t *testing.T) {
		c.Kill(1)
		if err := c.Nodes[1].Client.Ping(ctx).Err(); err == nil {
			t.Error("the killed node answers")
		}
		for _, i := range []int{0, 2} {
			if err := c.Nodes[i].Client.Ping(ctx).Err(); err != nil {
				t.Errorf("node %d: %v", i, err)
			}
		}
		c.Restart(1)
		for i := range 100 {
			set(t, c.Client, fmt.Sprint("k", i))
		}
	})
	t.Run("waits for a paused node", func(t *testing.T) {
		c.Pause(2)
		impatient := redis.NewClient(&redis.Options{Addr: c.Addrs[2], ReadTimeout: 50 * time.Millisecond, MaxRetries: -1})
		defer impatient.Close()
		if err := impatient.Ping(ctx).Err(); err == nil {
			t.Error("the paused node answers")
		}
		c.Resume(2)
		if err := c.Nodes[2].Client.Ping(ctx).Err(); err != nil {
			t.Error(err)
		}
	})
}
