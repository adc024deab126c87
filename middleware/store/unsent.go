package store

import (
	"context"
	"errors"
	"net"

	"github.com/redis/go-redis/v9"
)

// Sent tells of an error of [Redis.Do] whether the commands were sent, so that Redis may have
// carried them out, or may yet. They were not where the breaker was open, too many were waiting,
// the time was up before their turn, no connection was made, or they could not be written. It calls then at once where that
// is known, and otherwise on a goroutine of its own, when the round trip has ended that Do waits
// for no longer: Options.Timeout or WriteTimeout later at most.
func Sent(err error, then func(sent bool)) {
	var late *lateError
	if !errors.As(err, &late) {
		then(!isUnsent(err))
		return
	}
	go func() {
		<-late.job.done
		then(!isUnsent(late.job.err))
	}()
}

// lateError is the error of a caller that waits no longer for a job that is under way.
type lateError struct {
	error
	job *job
}

func (e *lateError) Unwrap() error { return e.error }

func isUnsent(err error) bool {
	var u *unsentError
	var s *setupError
	if errors.As(err, &u) || errors.As(err, &s) {
		return true
	}
	// On a connection the time ends with an error of that: before there was one, with the context's.
	var op *net.OpError
	if errors.As(err, &op) {
		return op.Op == "write"
	}
	return errors.Is(err, context.DeadlineExceeded) || errors.Is(err, context.Canceled)
}

// unsentError is an error of commands that were not sent. It does not unwrap, since go-redis
// unwraps what goes wrong while a connection is set up, once.
type unsentError struct{ error }

func (e *unsentError) Is(target error) bool { return errors.Is(e.error, target) }

func (e *unsentError) As(target any) bool { return errors.As(e.error, target) }

// unsent says of an error that nothing was sent. It returns nil for nil.
func unsent(err error) error {
	if err == nil {
		return nil
	}
	return &unsentError{err}
}

// unsentBy is unsent where cmd is one by which go-redis makes a connection usable, and err no
// reply to it: what was to be sent on the connection was not.
func unsentBy(cmd redis.Cmder, err error) error {
	var reply redis.Error
	switch cmd.Name() {
	case "hello", "auth", "select", "readonly", "client":
		if !errors.As(err, &reply) {
			return unsent(err)
		}
	}
	return err
}
