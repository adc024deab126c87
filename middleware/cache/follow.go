package cache

import (
	"context"
	"encoding/hex"
	"errors"
	"fmt"
	"slices"
	"strconv"
	"time"
)

const (
	// tierLease is how long an instance may use its local tier after it has
	// last heard from the purge log.
	tierLease = time.Second
	heartbeat = tierLease / 4
	// maxLog bounds the tags in the log; purging more moves its floor, and
	// voids what is older.
	maxLog  = 1 << 16
	logPage = 4096
)

func (r *remote) logKeys() []string {
	return []string{
		r.redis.Key("cache", "{purge}", "head"),
		r.redis.Key("cache", "{purge}", "log"),
		r.redis.Key("cache", "{purge}", "instances"),
	}
}

func (r *remote) purgeChannel() string { return r.redis.Key("cache", "purged") }
func (r *remote) wakeChannel() string  { return r.redis.Key("cache", "wake") }

// leased reports whether this instance's lease on its local tier runs.
func (r *remote) leased() bool { return int64(time.Since(r.started)) < r.leaseEnds.Load() }

// follow keeps the instance's view of the purge log up to date until ctx ends.
func (r *remote) follow(ctx context.Context) {
	poke := make(chan struct{}, 1)
	done := make(chan struct{})
	go func() {
		defer close(done)
		r.listen(ctx, poke)
	}()
	defer func() { <-done }()
	tick := time.NewTicker(heartbeat)
	defer tick.Stop()
	failing := false
	for {
		err := r.sync(ctx)
		if err == nil {
			r.writeHeld(ctx)
		}
		if (err != nil) != failing && ctx.Err() == nil {
			failing = err != nil
			if failing {
				r.log.Warn("cache: the purge log cannot be followed; requests go to the origin until it can", "error", err)
			} else {
				r.log.Info("cache: the purge log is followed again")
			}
		}
		select {
		case <-ctx.Done():
			return
		case <-tick.C:
		case <-poke:
		}
	}
}

// listen hears of purges and of ended leases. What it misses is found by
// heartbeats and by polling.
func (r *remote) listen(ctx context.Context, poke chan<- struct{}) {
	for ctx.Err() == nil {
		sub := r.redis.Client().Subscribe(ctx, r.purgeChannel(), r.wakeChannel())
		messages := sub.Channel()
	receive:
		for {
			select {
			case <-ctx.Done():
				break receive
			case m, ok := <-messages:
				if !ok {
					break receive
				}
				if m.Channel == r.wakeChannel() {
					r.waiters.wake(m.Payload)
					continue
				}
				select {
				case poke <- struct{}{}:
				default:
				}
			}
		}
		_ = sub.Close()
	}
}

// sync renews the lease on the local tier and applies what is new in the log.
// Callers that come while one is under way share the next.
func (r *remote) sync(ctx context.Context) error {
	asked := int64(time.Since(r.started))
	r.syncing.Lock()
	defer r.syncing.Unlock()
	if r.synced.Load() > asked {
		return nil
	}
	for {
		sent := time.Since(r.started)
		at := r.purges.now()
		call := followScript.Call(r.logKeys(), at.log.text(), at.epoch, randomID(), r.instance, tierLease.Milliseconds(), logPage)
		if err := r.redis.Do(ctx, call); err != nil {
			return err
		}
		reply, err := parseLogReply(call.Slice())
		if err != nil {
			return err
		}
		complete := len(reply.records) < logPage
		next := stamp{reply.log, reply.epoch}
		if !complete {
			next.epoch = reply.records[len(reply.records)-1].epoch
			// The page may have cut an epoch in two: ask for it again.
			next.epoch--
		}
		r.purges.merge(next, reply.floor, reply.records, reply.log != at.log)
		if !complete {
			continue
		}
		// Redis counts the lease from when it ran the script, which was
		// after we sent it. Clocks differ in pace: keep a margin.
		r.leaseEnds.Store(int64(sent + tierLease - tierLease/20))
		r.synced.Store(int64(sent))
		if len(reply.records) == 0 && reply.log == at.log {
			return nil
		}
		// Go round once more: that call acknowledges what this one brought.
	}
}

type logReply struct {
	log          logID
	epoch, floor uint64
	records      []record
}

var errLogReply = errors.New("cache: the purge log's answer cannot be read")

func parseLogReply(reply []any, err error) (r logReply, _ error) {
	if err != nil {
		return r, err
	}
	if len(reply) != 4 {
		return r, errLogReply
	}
	id, _ := reply[0].(string)
	epoch, ok1 := reply[1].(int64)
	floor, ok2 := reply[2].(int64)
	list, ok3 := reply[3].([]any)
	if !ok1 || !ok2 || !ok3 || len(list)%2 != 0 || !r.log.parse(id) {
		return r, errLogReply
	}
	r.epoch, r.floor = uint64(epoch), uint64(floor)
	for i := 0; i < len(list); i += 2 {
		member, _ := list[i].(string)
		score, _ := list[i+1].(string)
		at, err := strconv.ParseUint(score, 10, 64)
		if err != nil || len(member) != 1+len(tag{}) {
			return r, errLogReply
		}
		r.records = append(r.records, record{tag: tag([]byte(member[1:])), soft: member[0] == 's', epoch: at})
	}
	return r, nil
}

func (id logID) text() string { return hex.EncodeToString(id[:]) }

func (id *logID) parse(s string) bool {
	b, err := hex.DecodeString(s)
	if err != nil || len(b) != len(id) {
		return false
	}
	copy(id[:], b)
	return true
}

// purge writes tags to the log and waits until they are in force everywhere.
func (r *remote) purge(ctx context.Context, tags []tag, soft bool) error {
	at, unsure, err := r.write(ctx, tags, soft)
	if err != nil {
		r.purges.hold(tags, soft)
		return fmt.Errorf("cache: the purge is not in the log yet, and will be repeated: %w", err)
	}
	if err := r.sync(ctx); err != nil {
		r.purges.hold(tags, soft)
		return fmt.Errorf("cache: the purge is in the log, but not known to be in force: %w", err)
	}
	if unsure {
		// The list of live instances may be gone. Whoever had a lease has it
		// for no longer than this.
		if err := sleep(ctx, tierLease); err != nil {
			return err
		}
	}
	return r.awaitEverybody(ctx, at)
}

// write adds purges to the log, in pieces: an epoch that fills a page of the
// log could never be read past.
func (r *remote) write(ctx context.Context, tags []tag, soft bool) (at stamp, unsure bool, err error) {
	for piece := range slices.Chunk(tags, logPage/4) {
		var lost bool
		if at, lost, err = r.writePiece(ctx, piece, soft); err != nil {
			return at, false, err
		}
		unsure = unsure || lost
	}
	return at, unsure, nil
}

func (r *remote) writePiece(ctx context.Context, tags []tag, soft bool) (at stamp, unsure bool, err error) {
	known, kind := r.purges.now(), "h"
	if soft {
		kind = "s"
	}
	args := []any{known.log.text(), known.epoch, randomID(), r.instance, r.purgeChannel(), kind, maxLog}
	for i := range tags {
		args = append(args, tags[i][:])
	}
	call := purgeScript.Call(r.logKeys(), args...)
	if err := r.redis.Do(ctx, call); err != nil {
		return at, false, err
	}
	reply, err := call.Slice()
	if err != nil {
		return at, false, err
	}
	if len(reply) != 3 {
		return at, false, errLogReply
	}
	id, _ := reply[0].(string)
	epoch, _ := reply[1].(int64)
	lost, _ := reply[2].(int64)
	if !at.log.parse(id) || epoch <= 0 {
		return at, false, errLogReply
	}
	at.epoch = uint64(epoch)
	return at, lost != 0, nil
}

// awaitEverybody returns when every instance has acknowledged a position in
// the log, or its lease has ended.
func (r *remote) awaitEverybody(ctx context.Context, at stamp) error {
	pause := time.Millisecond
	for {
		call := awaitScript.Call(r.logKeys()[2:], at.log.text(), at.epoch)
		if err := r.redis.Do(ctx, call); err != nil {
			return fmt.Errorf("cache: the purge is in the log, but not known to be in force everywhere: %w", err)
		}
		left, err := call.Int64()
		if err != nil {
			return err
		}
		if left == 0 {
			return nil
		}
		if err := sleep(ctx, min(pause, time.Duration(left)*time.Millisecond)); err != nil {
			return fmt.Errorf("cache: the purge is in the log, but not known to be in force everywhere: %w", err)
		}
		pause = min(2*pause, 50*time.Millisecond)
	}
}

// writeHeld repeats the purges that Redis did not take.
func (r *remote) writeHeld(ctx context.Context) {
	hard, soft, until := r.purges.held()
	if len(hard)+len(soft) == 0 {
		return
	}
	for kind, tags := range [][]tag{hard, soft} {
		if len(tags) == 0 {
			continue
		}
		if _, _, err := r.write(ctx, tags, kind == 1); err != nil {
			return
		}
	}
	if r.sync(ctx) == nil {
		r.purges.release(until)
		r.log.Info("cache: purges that had to wait for Redis are in its log now", "tags", len(hard)+len(soft))
	}
}

func sleep(ctx context.Context, d time.Duration) error {
	timer := time.NewTimer(d)
	defer timer.Stop()
	select {
	case <-timer.C:
		return nil
	case <-ctx.Done():
		return context.Cause(ctx)
	}
}
