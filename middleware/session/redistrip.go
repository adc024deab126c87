package session

import (
	"context"
	"errors"
	"fmt"
	"iter"
	"strconv"
	"strings"
	"time"

	"github.com/redis/go-redis/v9"

	"github.com/headgate/headgate/middleware/store"
)

// redisTrip is a round trip to Redis.
type redisTrip struct {
	b    *redisBackend
	cmds []redis.Cmder
	read []func() error // read the replies
}

func (b *redisBackend) trip() trip { return &redisTrip{b: b} }

func (b *redisBackend) ordered() bool { return !b.redis.IsCluster() }

// send sends the steps. A command's own error is the trip's: see [asked].
func (t *redisTrip) send(ctx context.Context) error {
	if err := asked(t.b.redis.Do(ctx, t.cmds...), t.cmds...); err != nil {
		return err
	}
	for _, read := range t.read {
		if err := read(); err != nil {
			return err
		}
	}
	return nil
}

// add adds a command whose reply read reads.
func (t *redisTrip) add(cmd redis.Cmder, read func() error) {
	t.cmds = append(t.cmds, cmd)
	if read != nil {
		t.read = append(t.read, read)
	}
}

func (t *redisTrip) get(handle string) *[]byte {
	text := new([]byte)
	cmd := redis.NewStringCmd(context.Background(), "get", t.b.key(handle))
	t.add(cmd, func() error {
		if found, err := cmd.Bytes(); err == nil {
			*text = found
		}
		return nil
	})
	return text
}

func (t *redisTrip) create(handle string, text []byte, ttl time.Duration) {
	call := t.b.createNX.Eval([]string{t.b.key(handle)}, text, ttl.Milliseconds())
	t.add(call, func() error {
		switch n, err := call.Int(); {
		case err != nil:
			return unavailable(err)
		case n != 1:
			return errors.New("session: a new handle exists already")
		}
		return nil
	})
}

func (t *redisTrip) swap(handle, head string, text []byte, ttl time.Duration) *swapped {
	s := new(swapped)
	call := t.b.swapXX.Eval([]string{t.b.key(handle)}, head, text, ttl.Milliseconds())
	t.add(call, func() error {
		switch reply := call.Val().(type) {
		case string:
			s.present = []byte(reply)
		case int64:
			s.ended = reply != 1
		default:
			return unavailable(fmt.Errorf("the reply to a change of a session can't be read: %v", reply))
		}
		return nil
	})
	return s
}

func (t *redisTrip) remove(handles ...string) {
	for _, handle := range handles { // one command per key: they may lie in different slots
		t.add(redis.NewIntCmd(context.Background(), "del", t.b.key(handle)), nil)
	}
}

func (t *redisTrip) enter(user string, e entry, ttl time.Duration) *[]entry {
	return t.entries(t.b.add.Eval(t.b.userKeys(user), e.handle, e.created, strconv.FormatInt(e.seen, 10)+" "+e.host, ttl.Milliseconds()))
}

func (t *redisTrip) list(user string) *[]entry {
	return t.entries(t.b.listed.Eval(t.b.userKeys(user)))
}

func (t *redisTrip) retire(user, handle string) {
	t.add(t.b.mark.Eval(t.b.userKeys(user)[1:], handle), nil)
}

func (t *redisTrip) leave(user string, handles ...string) {
	if len(handles) == 0 {
		return
	}
	keys := t.b.userKeys(user)
	for i, name := range []string{"zrem", "hdel"} {
		args := []any{name, keys[i]}
		for _, handle := range handles {
			args = append(args, handle)
		}
		t.add(redis.NewIntCmd(context.Background(), args...), nil)
	}
}

// entries adds a call that replies with an index.
func (t *redisTrip) entries(call *store.Call) *[]entry {
	list := new([]entry)
	t.add(call, func() error {
		reply, err := call.Slice()
		if err == nil && len(reply) != 2 {
			err = fmt.Errorf("the index of a user's sessions can't be read: %v", reply)
		}
		if err != nil {
			return unavailable(err)
		}
		notes := make(map[string]string)
		for handle, note := range pairs(reply[1]) {
			notes[handle] = note
		}
		for handle, score := range pairs(reply[0]) {
			created, err := strconv.ParseFloat(score, 64)
			if err != nil {
				continue
			}
			e := entry{handle: handle, created: int64(created), seen: int64(created)}
			seen, host, _ := strings.Cut(notes[handle], " ")
			if at, err := strconv.ParseInt(seen, 10, 64); err == nil { // else noted by a version that did not say when
				e.seen, e.host = at, host
			}
			*list = append(*list, e)
		}
		return nil
	})
	return list
}

// pairs yields what a flat reply says of each handle.
func pairs(reply any) iter.Seq2[string, string] {
	flat, _ := reply.([]any)
	return func(yield func(handle, said string) bool) {
		for i := 0; i+1 < len(flat); i += 2 {
			handle, _ := flat[i].(string)
			said, _ := flat[i+1].(string)
			if !yield(handle, said) {
				return
			}
		}
	}
}
