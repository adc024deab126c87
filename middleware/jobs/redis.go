package jobs

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"slices"
	"strconv"
	"time"

	"github.com/headgate/headgate/middleware/store"
	"github.com/redis/go-redis/v9"
)

// redisBackend keeps queues in Redis: each method but body and result is a script of the lua folder, and all keys of a queue share a hash tag, so that
// a Cluster has them in one slot.
type redisBackend struct {
	redis   *store.Redis
	scripts *scripts
	channel string
	// clock replaces Redis' own in tests; nil otherwise.
	clock func() int64
}

func newRedisBackend(r *store.Redis) *redisBackend {
	return &redisBackend{redis: r, scripts: newScripts(), channel: r.Key("jobs", "events")}
}

// base is what the keys of a queue begin with.
func (b *redisBackend) base(queue string) string { return b.redis.Key("jobs", "{"+queue+"}", "") }

// largeSpec is how many bytes travel where no small command waits behind them.
const largeSpec = 32 << 10

// run runs a script once, within the store's write timeout. An error that Redis replied, such as that it is full, is as much an ErrUnavailable as
// none: nothing is known to be stored. Where ctx is of [store.Replicated], replicas have what it wrote.
func (b *redisBackend) run(ctx context.Context, s *store.Script, queue string, args ...any) (*store.Call, error) {
	now := ""
	if b.clock != nil {
		now = strconv.FormatInt(b.clock(), 10)
	}
	line := append(make([]any, 0, len(args)+2), now, b.channel)
	call := s.Call([]string{b.base(queue)}, append(line, args...)...)
	return call, b.send(ctx, call, large(args))
}

// send is where everything that the queues do in Redis goes.
func (b *redisBackend) send(ctx context.Context, cmd redis.Cmder, large bool) error {
	// A client that disconnects must not count as a failure of Redis.
	ctx = store.Writing(context.WithoutCancel(ctx))
	do := b.redis.Do
	if large {
		do = b.redis.DoLarge
	}
	err := do(ctx, cmd)
	if err == nil {
		err = cmd.Err()
	}
	switch {
	case err == nil:
		return nil
	case errors.Is(err, redis.Nil):
		return redis.Nil
	}
	return fmt.Errorf("%w: %w", ErrUnavailable, err)
}

// large reports whether arguments are.
func large(args []any) bool {
	n := 0
	for _, a := range args {
		if v, ok := a.([]byte); ok {
			n += len(v)
		}
	}
	return n > largeSpec
}

// args are a job's in the scripts, in their order.
func (t *taking) args() []any {
	spec := make([]byte, 0, len(t.head)+len(t.body))
	spec = append(append(spec, t.head...), t.body...)
	return []any{t.id, spec, len(t.head), t.owner, t.host, t.key, t.print, t.delay, t.at}
}

// unanswered reports whether Redis may have run a script all the same: it did not reply.
func unanswered(err error) bool { return errors.Is(err, store.ErrUnavailable) }

// askAgain are the pauses before a job that may have been stored is asked after.
var askAgain = [...]time.Duration{20 * time.Millisecond, 200 * time.Millisecond}

// take stores jobs. Where the reply was lost they are asked after, by their IDs: the same script then finds them, or stores them.
func (b *redisBackend) take(ctx context.Context, maxBytes int64, jobs []*taking) (takenAll, error) {
	queue, args := jobs[0].queue, []any{maxBytes}
	for _, t := range jobs {
		args = append(args, t.args()...)
	}
	call, err := b.run(store.Replicated(ctx), b.scripts.take, queue, args...)
	for _, pause := range askAgain {
		if !unanswered(err) || !b.redis.Available() {
			break // Redis has replied, or can't be asked
		}
		time.Sleep(pause)
		call, err = b.run(store.Replicated(store.Afresh(ctx)), b.scripts.take, queue, args...)
	}
	if err != nil {
		return takenAll{}, err
	}
	r := replyOf(call)
	reply := takenAll{as: takenAs(r.byte()), which: int(r.int())}
	switch reply.as {
	case full:
		reply.standing = r.standing()
	case stored:
		for range jobs {
			reply.jobs = append(reply.jobs, taken{as: takenAs(r.byte()), id: r.text(), standing: r.standing()})
		}
	}
	return reply, r.error()
}

func (b *redisBackend) claim(ctx context.Context, c *claiming) (claimed, error) {
	call, err := b.run(ctx, b.scripts.claim, c.queue, c.most, c.concurrency, c.lease, c.maxAge, c.keep, c.inline, c.token, c.undo)
	if err != nil {
		return claimed{}, err
	}
	r := replyOf(call)
	now := r.int()
	reply := claimed{next: r.int(), lost: int(r.int())}
	for list := r.list(); list.more(); {
		reply.expired = append(reply.expired, list.text())
	}
	for r.more() {
		job := r.list()
		l := &claim{id: job.text(), record: job.record(), now: now}
		spec := []byte(job.text())
		size := min(l.headSize, int64(len(spec)))
		l.head, l.body = spec[:size], spec[size:]
		reply.jobs = append(reply.jobs, l)
		r.note(job)
	}
	return reply, r.error()
}

func (b *redisBackend) body(ctx context.Context, queue string, c *claim) ([]byte, error) {
	get := redis.NewStringCmd(ctx, "getrange", b.base(queue)+"spec:"+c.id, c.headSize+int64(len(c.body)), -1)
	if err := b.send(ctx, get, true); err != nil {
		return nil, err
	}
	return get.Bytes()
}

// renewedAtOnce is how many leases one script renews: Redis serves nothing else meanwhile.
const renewedAtOnce = 500

func (b *redisBackend) renew(ctx context.Context, queue string, length int64, leases []lease) ([]held, error) {
	reply := make([]held, 0, len(leases))
	for some := range slices.Chunk(leases, renewedAtOnce) {
		args := []any{length}
		for _, l := range some {
			args = append(args, l.id, l.token)
		}
		call, err := b.run(ctx, b.scripts.renew, queue, args...)
		if err != nil {
			return nil, err
		}
		r := replyOf(call)
		for range some {
			reply = append(reply, held(r.byte()))
		}
		if err := r.error(); err != nil {
			return nil, err
		}
	}
	return reply, nil
}

func (b *redisBackend) finish(ctx context.Context, f *finishing) (finished, error) {
	args := []any{
		f.id, f.token, string(f.state), flag(f.attempt), flag(f.front), f.delay, f.slow, f.keep, f.maxBytes, f.took, f.status, f.reason,
		f.result, withoutBody(f.result),
	}
	for _, t := range f.followUps {
		args = append(args, t.args()...)
	}
	if f.replicated {
		ctx = store.Replicated(ctx)
	}
	call, err := b.run(ctx, b.scripts.finish, f.queue, args...)
	if err != nil {
		return 0, err
	}
	word, err := call.Text()
	if err != nil || word == "" {
		return 0, fmt.Errorf("%w: finish.lua answered %q: %w", ErrUnavailable, word, err)
	}
	return finished(word[0]), nil
}

func flag(b bool) string {
	if b {
		return "1"
	}
	return ""
}

// withoutBody is a result as it is stored where Redis has no room for its body.
func withoutBody(result []byte) []byte {
	end := bytes.IndexByte(result, '\n')
	if end < 0 || end+1 == len(result) {
		return result
	}
	cut := bytes.TrimSuffix(result[:end], []byte("}"))
	if !bytes.Contains(cut, []byte(`"t":true`)) {
		cut = append(bytes.Clone(cut), `,"t":true`...)
	}
	return append(bytes.Clone(cut), "}\n"...)
}

func (b *redisBackend) cancel(ctx context.Context, queue, id string, how cancelling, keep int64) (bool, error) {
	n, err := b.count(store.Replicated(ctx), b.scripts.cancel, queue, id, int(how), keep)
	return n == 1, err
}

// count runs a script that replies one number.
func (b *redisBackend) count(ctx context.Context, s *store.Script, queue string, args ...any) (int, error) {
	call, err := b.run(ctx, s, queue, args...)
	if err != nil {
		return 0, err
	}
	return call.Int()
}

// cancelledAtOnce is how many jobs of a user one script looks at.
const cancelledAtOnce = 500

func (b *redisBackend) cancelOwner(ctx context.Context, queue, owner, host string, keep int64) (n int, err error) {
	for pass := int64(0); ; {
		call, err := b.run(store.Replicated(store.Afresh(ctx)), b.scripts.owner, queue, owner, host, keep, pass, cancelledAtOnce)
		if err != nil {
			return n, err
		}
		r := replyOf(call)
		n += int(r.int())
		pass = r.int()
		if looked := r.int(); looked < cancelledAtOnce {
			return n, r.error()
		}
	}
}

func (b *redisBackend) view(ctx context.Context, queue, id string, asks bool) (*view, error) {
	call, err := b.run(ctx, b.scripts.view, queue, id, flag(asks))
	if err != nil {
		return nil, err
	}
	r := replyOf(call)
	if !r.more() {
		return nil, r.error()
	}
	return r.view(), r.error()
}

func (b *redisBackend) result(ctx context.Context, queue, id string) ([]byte, error) {
	get := redis.NewStringCmd(ctx, "get", b.base(queue)+"result:"+id)
	switch err := b.send(ctx, get, true); {
	case errors.Is(err, redis.Nil):
		return nil, nil
	case err != nil:
		return nil, err
	}
	return get.Bytes()
}

func (b *redisBackend) list(ctx context.Context, queue string, status Status, offset, limit int) ([]*view, error) {
	call, err := b.run(ctx, b.scripts.list, queue, string(status), offset, limit)
	if err != nil {
		return nil, err
	}
	r := replyOf(call)
	var views []*view
	for r.more() {
		job := r.list()
		views = append(views, job.view())
		r.note(job)
	}
	return views, r.error()
}

func (b *redisBackend) pause(ctx context.Context, queue string, paused bool) error {
	_, err := b.run(store.Replicated(ctx), b.scripts.pause, queue, flag(paused))
	return err
}

func (b *redisBackend) retry(ctx context.Context, queue, id string) (bool, error) {
	n, err := b.count(store.Replicated(ctx), b.scripts.retry, queue, id, 0)
	return n == 1, err
}

func (b *redisBackend) retryFailed(ctx context.Context, queue string, limit int) (int, error) {
	return b.count(store.Replicated(ctx), b.scripts.retry, queue, "", limit)
}

func (b *redisBackend) plan(ctx context.Context, p *planning) (planned, error) {
	args := append([]any{p.schedule, p.identity, p.planned, flag(p.skip), flag(p.overlap)}, p.args()...)
	call, err := b.run(store.Replicated(ctx), b.scripts.plan, p.queue, args...)
	if err != nil {
		return planned{}, err
	}
	r := replyOf(call)
	return planned{as: plannedAs(r.byte()), last: r.int(), now: r.int()}, r.error()
}

func (b *redisBackend) stats(ctx context.Context, queue string) (counts, error) {
	call, err := b.run(ctx, b.scripts.stats, queue)
	if err != nil {
		return counts{}, err
	}
	r := replyOf(call)
	c := counts{
		queued: r.int(), waiting: r.int(), running: r.int(), done: r.int(), failed: r.int(), cancelled: r.int(), live: r.int(), kept: r.int(),
		oldest: r.int(), paused: r.int() == 1,
	}
	c.standing = r.standing()
	return c, r.error()
}
