package fleet

import (
	"context"
	"errors"
	"strconv"
	"time"
)

// logPage is how many records are read from the log at once.
const logPage = 4096

func (m *Member) logKeys() []string {
	return []string{
		m.Redis.Key("cache", "{purge}", "head"),
		m.Redis.Key("cache", "{purge}", "log"),
		m.Redis.Key("cache", "{purge}", "instances"),
	}
}

// Sync renews the lease on the local tier and applies what is new in the log.
// Callers that come while one is under way share the next.
func (m *Member) Sync(ctx context.Context) error {
	asked := int64(time.Since(m.started))
	m.syncing.Lock()
	defer m.syncing.Unlock()
	if m.synced.Load() > asked {
		return nil
	}
	for {
		sent := time.Since(m.started)
		at := m.View.Now()
		call := followScript.Call(m.logKeys(), at.Log.text(), at.Epoch, NewToken(), m.Instance, tierLease.Milliseconds(), logPage)
		if err := m.Redis.Do(ctx, call); err != nil {
			return err
		}
		reply, err := parseLogReply(call.Slice())
		if err != nil {
			return err
		}
		complete := len(reply.records) < logPage
		next := Stamp{reply.log, reply.epoch}
		if !complete {
			next.Epoch = reply.records[len(reply.records)-1].epoch
			// The page may have cut an epoch in two: ask for it again.
			next.Epoch--
		}
		m.View.merge(next, reply.floor, reply.records, reply.log != at.Log)
		if !complete {
			continue
		}
		// Redis counts the lease from when it ran the script, which was
		// after we sent it. Clocks differ in pace: keep a margin.
		m.leaseEnds.Store(int64(sent + tierLease - tierLease/20))
		m.synced.Store(int64(sent))
		if len(reply.records) == 0 && reply.log == at.Log {
			return nil
		}
		// Go round once more: that call acknowledges what this one brought.
	}
}

type logReply struct {
	log          LogID
	epoch, floor uint64
	records      []record
}

var errLogReply = errors.New("cache: the reply of the purge log cannot be read")

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
		if err != nil || len(member) != 1+len(Tag{}) {
			return r, errLogReply
		}
		r.records = append(r.records, record{tag: Tag([]byte(member[1:])), soft: member[0] == 's', epoch: at})
	}
	return r, nil
}
