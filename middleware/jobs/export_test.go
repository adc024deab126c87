package jobs

import "context"

// SetRedisClock has the queues' scripts go by a clock of the test's instead of Redis' own.
func (q *Queues) SetRedisClock(micros func() int64) { q.backend.(*redisBackend).clock = micros }

// LoseLease drops what becomes of the next attempt that ends: as if its worker had been killed.
func (q *Queues) LoseLease() { q.backend = &killed{backend: q.backend} }

// killed drops one end of an attempt.
type killed struct {
	backend
	done bool
}

func (k *killed) finish(ctx context.Context, f *finishing) (finished, error) {
	if !k.done {
		k.done = true
		return finishedLost, nil
	}
	return k.backend.finish(ctx, f)
}
