package store

import (
	"context"
	"errors"
	"net"
	"strings"

	"github.com/redis/go-redis/v9"
)

// unanswered is a go-redis hook with which every command that Redis did not answer has an
// error, and one that can't be taken for Redis' answer to it.
//
// Without the hook, setting up a connection can fail with an error that Redis, or a Sentinel,
// replied: a wrong password, a database that is not there, a master's name that no Sentinel
// knows (redis.Nil). go-redis then gives the error to a pipeline's Exec, and to none of the
// commands: each looks as if Redis had replied that there is nothing. A single command gets
// the error as if it were the reply to that command.
type unanswered struct{}

// install adds the hook to a client, and to those of a Cluster's nodes.
func (h unanswered) install(c redis.UniversalClient) {
	if cluster, ok := c.(*redis.ClusterClient); ok {
		cluster.OnNewNode(func(node *redis.Client) { node.AddHook(h) })
	}
	c.AddHook(h)
}

// DialHook hides what a Sentinel replied.
func (unanswered) DialHook(next redis.DialHook) redis.DialHook {
	return func(ctx context.Context, network, addr string) (net.Conn, error) {
		conn, err := next(ctx, network, addr)
		return conn, unsent(notReply(err))
	}
}

// ProcessHook hides what Redis replied to a command of the connection's own.
func (unanswered) ProcessHook(next redis.ProcessHook) redis.ProcessHook {
	return func(ctx context.Context, cmd redis.Cmder) error {
		err := next(ctx, cmd)
		if err != nil && setsUp(cmd, err) {
			return notReply(err)
		}
		return unsentBy(cmd, err)
	}
}

// ProcessPipelineHook does the same for several commands, and gives them the error that
// go-redis has given to none of them.
func (unanswered) ProcessPipelineHook(next redis.ProcessPipelineHook) redis.ProcessPipelineHook {
	return func(ctx context.Context, cmds []redis.Cmder) error {
		err := next(ctx, cmds)
		if err == nil {
			return nil
		}
		if setsUp(cmds[0], err) {
			return notReply(err)
		}
		err = unsentBy(cmds[0], err)
		for _, c := range cmds {
			if c.Err() != nil {
				return err // that of a command
			}
		}
		err = notReply(err)
		for _, c := range cmds {
			c.SetErr(err)
		}
		return err
	}
}

// setsUp reports whether a command is one by which go-redis makes a connection usable, or
// learns a Cluster's topology, and err means that it can't.
func setsUp(c redis.Cmder, err error) bool {
	switch c.Name() {
	case "auth", "select", "readonly", "cluster":
		return true
	case "client": // SETINFO is not known to Redis 7.0, and not needed
		args := c.Args()
		return len(args) > 1 && args[1] == "setname"
	case "hello":
		// Another error can mean that Redis 5 does not know HELLO, or that AUTH comes
		// next. After these Redis closes the connection, and the reason would be lost.
		return startsWith(err, []string{"DENIED", "ERR max number of clients"})
	}
	return false
}

// setupError is an error that Redis or a Sentinel replied while a connection was set up. It
// does not unwrap to that reply: callers look for redis.Nil and other replies in errors.
type setupError struct{ reply string }

func (e *setupError) Error() string { return "the connection can't be set up: " + e.reply }

// Is makes it an ErrUnavailable, also for those who use Client.
func (e *setupError) Is(target error) bool { return target == ErrUnavailable }

// notReply hides a reply in err.
func notReply(err error) error {
	var reply redis.Error
	if !errors.As(err, &reply) {
		return err
	}
	return &setupError{strings.ReplaceAll(err.Error(), "\n", "; ")}
}
