package store

import (
	"context"
	"crypto/sha1"
	"encoding/hex"
	"strings"

	"github.com/redis/go-redis/v9"
)

// Script is a Lua script that Redis knows by the SHA-1 of its text.
type Script struct {
	text, sha string
}

// NewScript returns the script with this text. It does not talk to Redis.
func NewScript(text string) *Script {
	sum := sha1.Sum([]byte(text))
	return &Script{text: text, sha: hex.EncodeToString(sum[:])}
}

// Call is one run of a script, to be given to [Redis.Do], which runs it at
// most once. Its reply is read through the embedded Cmd. A Call is used for
// one Do only.
type Call struct {
	*redis.Cmd
	script *Script
}

// Call prepares a run of the script. In a Cluster all keys must share one
// hash tag; there must be at least one.
func (s *Script) Call(keys []string, args ...any) *Call {
	line := make([]any, 0, 3+len(keys)+len(args))
	line = append(line, "evalsha", s.sha, len(keys))
	for _, k := range keys {
		line = append(line, k)
	}
	line = append(line, args...)
	return &Call{Cmd: redis.NewCmd(context.Background(), line...), script: s}
}

// Eval is [Script.Call] with the script's text in the place of its SHA-1: it takes one round trip
// also where Redis does not know the script. That is worth the bytes where the script runs
// seldom, and where the commands of one round trip must run in their order.
func (s *Script) Eval(keys []string, args ...any) *Call {
	c := s.Call(keys, args...)
	c.Args()[0], c.Args()[1] = "eval", s.text
	return c
}

// NoRetry tells go-redis never to send the command twice. Without it a
// ClusterClient repeats a script after a lost reply, however MaxRetries is
// set, and a TRYAGAIN repeats everything in its pipeline.
func (c *Call) NoRetry() bool { return true }

// unknown reports whether Redis answered that it does not know the script:
// it did not run, so that sending its text is its first run.
func (c *Call) unknown() bool {
	err := c.Err()
	return err != nil && strings.HasPrefix(err.Error(), "NOSCRIPT")
}

// withText replaces the call by one that carries the script's text.
func (c *Call) withText() {
	line := append([]any(nil), c.Args()...)
	line[0], line[1] = "eval", c.script.text
	c.Cmd = redis.NewCmd(context.Background(), line...)
}
