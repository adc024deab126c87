package ratelimit

import (
	"context"
	"encoding/hex"
	"errors"
	"net"
	"os"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"github.com/redis/go-redis/v9"
)

// listener receives the resets that an operator makes on another instance, through
// PUBLISH and SUBSCRIBE in Redis. So the deny cache can answer without asking Redis,
// and yet a reset takes effect in all instances at once.
//
// Messages can be lost. So the deny cache keeps denials for long only while the
// subscription is known to be alive (a PING a second on its connection), and is
// cleared whenever this instance has subscribed anew.
type listener struct {
	counters *Counters
	channel  string
	began    time.Time
	heard    atomic.Int64 // when the subscription was last known to be alive, since began; 0: it is not
	cancel   context.CancelFunc
	done     sync.WaitGroup
}

const (
	pingEvery  = time.Second
	trustFor   = 2500 * time.Millisecond
	retryAfter = 250 * time.Millisecond
)

func listen(c *Counters) *listener {
	ctx, cancel := context.WithCancel(context.Background())
	l := &listener{counters: c, channel: c.redis.redis.Key("limit-resets"), began: time.Now(), cancel: cancel}
	l.done.Go(func() {
		for ctx.Err() == nil {
			l.follow(ctx)
			l.heard.Store(0)
			select {
			case <-ctx.Done():
			case <-time.After(retryAfter):
			}
		}
	})
	return l
}

func (l *listener) close() {
	l.cancel()
	l.done.Wait()
}

// hears reports whether this instance would receive a reset.
func (l *listener) hears() bool {
	heard := l.heard.Load()
	return heard != 0 && time.Since(l.began)-time.Duration(heard) < trustFor
}

// follow subscribes, and carries out messages until the connection fails.
func (l *listener) follow(ctx context.Context) {
	sub := l.counters.redis.redis.Client().Subscribe(ctx, l.channel)
	stop := context.AfterFunc(ctx, func() { _ = sub.Close() })
	defer func() {
		stop()
		_ = sub.Close()
	}()
	asked := false
	for ctx.Err() == nil {
		message, err := sub.ReceiveTimeout(ctx, pingEvery)
		if isTimeout(err) && !asked {
			asked = true
			err = sub.Ping(ctx)
			if err == nil {
				continue
			}
		}
		if err != nil {
			return
		}
		asked = false
		l.heard.Store(int64(time.Since(l.began)))
		switch m := message.(type) {
		case *redis.Subscription:
			l.counters.denied.clear() // a reset may have been missed
		case *redis.Message:
			l.heed(m.Payload)
		}
	}
}

func isTimeout(err error) bool {
	var ne net.Error
	return errors.Is(err, os.ErrDeadlineExceeded) || errors.As(err, &ne) && ne.Timeout()
}

// announce tells all instances that counters were reset.
func (l *listener) announce(ctx context.Context, keys []counterKey) error {
	var text strings.Builder
	for _, k := range keys {
		text.WriteString(k.text())
		text.WriteByte('\n')
	}
	return l.counters.redis.redis.Client().Publish(ctx, l.channel, text.String()).Err()
}

func (l *listener) heed(payload string) {
	for line := range strings.Lines(payload) {
		if k, ok := parseCounterKey(strings.TrimSuffix(line, "\n")); ok {
			l.counters.forget(k)
		}
	}
}

// text is the key as messages carry it.
func (k counterKey) text() string {
	b := make([]byte, 0, 24)
	for shift := 56; shift >= 0; shift -= 8 {
		b = append(b, byte(k.limit>>shift))
	}
	return hex.EncodeToString(append(b, k.digest[:]...))
}

func parseCounterKey(s string) (k counterKey, ok bool) {
	b, err := hex.DecodeString(s)
	if err != nil || len(b) != 24 {
		return k, false
	}
	for _, c := range b[:8] {
		k.limit = k.limit<<8 | uint64(c)
	}
	copy(k.digest[:], b[8:])
	return k, true
}
