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

// LoseClaim drops the reply of the next claim: its jobs are leased, and no worker knows.
func (q *Queues) LoseClaim() { q.backend = &unheard{backend: q.backend} }

type unheard struct {
	backend
	done bool
}

func (u *unheard) claim(ctx context.Context, c *claiming) (claimed, error) {
	reply, err := u.backend.claim(ctx, c)
	if !u.done {
		u.done = true
		return claimed{}, ErrUnavailable
	}
	return reply, err
}

// LoseFinish drops the reply of the next end of an attempt: it is stored, and the worker does not know.
func (q *Queues) LoseFinish() { q.backend = &forgetful{backend: q.backend} }

type forgetful struct {
	backend
	done bool
}

func (f *forgetful) finish(ctx context.Context, end *finishing) (finished, error) {
	reply, err := f.backend.finish(ctx, end)
	if !f.done {
		f.done = true
		return 0, ErrUnavailable
	}
	return reply, err
}
