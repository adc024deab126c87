package fleet

import (
	"context"
	"crypto/rand"
	"encoding/hex"
	"sync"
	"sync/atomic"
	"time"
)

// NewToken makes a random text of 32 hex digits.
func NewToken() string {
	var b [16]byte
	rand.Read(b[:]) // never fails, since Go 1.24
	return hex.EncodeToString(b[:])
}

// Lease is the right to ask the origin on behalf of all instances, held in
// Redis under a token of its own and for a limited time. It is renewed while
// the response's head is awaited and while bytes flow; when its instance dies
// it runs out. The methods of a nil Lease do nothing: it is that of a fetch for
// one request.
type Lease struct {
	m       *Member
	key     string
	token   string
	stop    chan struct{}
	once    sync.Once
	opened  atomic.Bool
	flowed  atomic.Bool // bytes have, since the last renewal
	flowing atomic.Bool // bytes have, ever: from then on only bytes count
}

// openFor is how long an opened lease lets all requests through: long enough
// for those that wait on other instances to notice.
const openFor = time.Second

// BodyArriving is called for every piece of the response's body.
func (l *Lease) BodyArriving() {
	if l != nil && !l.flowed.Load() {
		l.flowed.Store(true)
		l.flowing.Store(true)
	}
}

// Open releases the lease such that no instance waits for the next one either:
// what came is for one request alone.
func (l *Lease) Open() {
	if l == nil {
		return
	}
	l.opened.Store(true)
	l.Release()
}

// Release ends the lease and wakes those that wait for it. Only the first call
// of Open and Release counts.
func (l *Lease) Release() {
	if l == nil {
		return
	}
	l.once.Do(func() {
		close(l.stop)
		openMS := int64(0)
		if l.opened.Load() {
			openMS = openFor.Milliseconds()
		}
		call := releaseScript.Call([]string{l.key, waitingKey(l.key)}, l.token, openMS, l.m.wakeChannel())
		// If it fails the lease ends by itself.
		_ = l.m.Redis.Do(context.Background(), call)
	})
}

// bodyLeases is for how many leases a body may take while other instances wait
// for it. They have none of its bytes before it is complete, which an event
// stream never is: it is better that each of them asks the origin once.
const bodyLeases = 3

// renew keeps the lease until it is released, or the response stalls.
func (l *Lease) renew() {
	tick := time.NewTicker(l.m.Lease / 3)
	defer tick.Stop()
	for ticks := 0; ; {
		select {
		case <-l.stop:
			return
		case <-tick.C:
		}
		if l.flowing.Load() {
			if ticks++; ticks > 3*bodyLeases {
				l.Open()
				return
			}
		}
		if l.flowing.Load() && !l.flowed.Swap(false) {
			continue // a stalled body: let the lease run out
		}
		call := renewScript.Call([]string{l.key}, l.token, l.m.Lease.Milliseconds())
		_ = l.m.Redis.Do(context.Background(), call) // the next tick tries again
	}
}

func waitingKey(leaseKey string) string { return leaseKey + ":w" }
