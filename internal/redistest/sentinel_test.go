package redistest_test

import (
	"testing"
	"time"

	"github.com/headgate/headgate/internal/redistest"
)

func TestSentinelsPromoteTheReplica(t *testing.T) {
	t.Parallel()
	w := redistest.StartSentinel(t)
	ctx := t.Context()
	if got := w.Current(t); got != w.Master {
		t.Fatalf("the master is %s, want %s", got.Addr, w.Master.Addr)
	}
	set(t, w.Client, "k")
	if n, err := w.Client.Wait(ctx, 1, 10*time.Second).Result(); n != 1 {
		t.Fatalf("%d replicas have the key (%v)", n, err)
	}

	w.Master.Kill()
	deadline := time.Now().Add(30 * time.Second)
	for w.Current(t) != w.Replica || w.Client.Set(ctx, "k2", "v", time.Minute).Err() != nil {
		if time.Now().After(deadline) {
			t.Fatal("no failover within 30 s")
		}
		time.Sleep(20 * time.Millisecond)
	}
	if n, err := w.Client.Exists(ctx, "k", "k2").Result(); n != 2 {
		t.Errorf("the new master has %d of 2 keys (%v)", n, err)
	}
}
