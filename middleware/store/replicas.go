package store

import (
	"context"
	"fmt"
	"time"

	"github.com/redis/go-redis/v9"
)

// replicaWait is the question how many replicas have what one round trip writes (WAIT). It goes
// behind the commands on their connection, as it is about what that has written. A nil one asks nothing.
type replicaWait struct {
	most time.Duration
	need int
	cmd  *redis.IntCmd // the last that was asked
}

// pipes returns what sends the commands of one round trip, and those again that Redis does not
// know, and the question that goes with them, if any job needs it.
//
// In a Cluster the question goes to the master that has the first key: what it does not serve
// any more is answered with MOVED, and its caller told that Redis is unavailable.
func (p *pipeline) pipes(ctx context.Context, jobs []*job) (pipe, again redis.Pipeliner, replicas *replicaWait) {
	client := redis.UniversalClient(p.redis.client)
	for _, j := range jobs {
		if !j.replicated {
			continue
		}
		replicas = &replicaWait{most: p.timeout() * 3 / 4, need: p.redis.waitReplicas}
		if cluster := p.redis.pipelines.cluster; cluster != nil {
			if master, err := cluster.MasterForKey(ctx, firstKey(j.cmds[0])); err == nil {
				client = master
			}
		}
		break
	}
	return client.Pipeline(), client.Pipeline(), replicas
}

func (w *replicaWait) wait(ctx context.Context, pipe redis.Pipeliner) {
	if w != nil {
		w.cmd = redis.NewIntCmd(ctx, "wait", w.need, w.most.Milliseconds())
		_ = pipe.Process(ctx, w.cmd)
	}
}

// fail gives the jobs that need replicas an error where too few have confirmed.
func (w *replicaWait) fail(jobs []*job) {
	if w == nil || w.cmd.Err() == nil && w.cmd.Val() >= int64(w.need) {
		return
	}
	err := fmt.Errorf("%w: %d of %d replicas have confirmed the write within %v", ErrUnavailable, w.cmd.Val(), w.need, w.most)
	if w.cmd.Err() != nil {
		err = fmt.Errorf("%w: whether replicas have the write is not known: %w", ErrUnavailable, w.cmd.Err())
	}
	for _, j := range jobs {
		if j.replicated && j.err == nil {
			j.err = err
		}
	}
}
