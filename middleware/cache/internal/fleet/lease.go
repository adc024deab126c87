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
// Redis under a token of its own and for a limited time. It is renewed until it is
// released; when its instance dies it runs out. The methods of a nil Lease do nothing:
// it is that of a fetch for one request.
type Lease struct {
	m      *Member
	key    string
	token  string
	stop   chan struct{}
	once   sync.Once
	opened atomic.Bool
	// bodyEnds is until when other instances wait for the rest of the body, in nanoseconds
	// since the member started. 0: none has come.
	bodyEnds atomic.Int64
}

// openFor is how long an opened lease lets all requests through: long enough
// for those that wait on other instances to notice.
const openFor = time.Second

// Held returns the key of the lease and the token that it has while the lease is the caller's.
func (l *Lease) Held() (key, token string) {
	if l == nil {
		return "", ""
	}
	return l.key, l.token
}

// BodyArriving is called for every piece of the response's body. Other instances have none
// of its bytes before it is complete, and it may never be: when they have waited for as long as
// patience, from the first piece on, each of them asks the origin once.
func (l *Lease) BodyArriving(patience time.Duration) {
	if l != nil && l.bodyEnds.Load() == 0 {
		l.bodyEnds.Store(int64(time.Since(l.m.started) + patience))
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

// renew keeps the lease until it is released.
func (l *Lease) renew() {
	tick := time.NewTicker(l.m.Lease / 3)
	defer tick.Stop()
	for {
		select {
		case <-l.stop:
			return
		case <-tick.C:
		}
		if ends := l.bodyEnds.Load(); ends != 0 && int64(time.Since(l.m.started)) > ends {
			l.Open()
			return
		}
		call := renewScript.Call([]string{l.key}, l.token, l.m.Lease.Milliseconds())
		_ = l.m.Redis.Do(context.Background(), call) // the next tick tries again
	}
}

func waitingKey(leaseKey string) string { return leaseKey + ":w" }
