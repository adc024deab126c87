package jobs

import (
	"context"
	"sync"
)

// listen passes the messages of other instances on to the hub until stop is called: that a job may run, or the ID of one that is over.
func (b *redisBackend) listen(h *hub) (stop func()) {
	ctx, cancel := context.WithCancel(context.Background())
	sub := b.redis.Client().Subscribe(ctx, b.channel)
	var ended sync.WaitGroup
	ended.Go(func() {
		messages := sub.Channel()
		for {
			select {
			case <-ctx.Done():
				return
			case m, ok := <-messages:
				switch {
				case !ok:
					return
				case m.Payload == "w":
					h.wake()
				default:
					h.over(m.Payload)
				}
			}
		}
	})
	return func() {
		cancel()
		_ = sub.Close()
		ended.Wait()
	}
}
