package blocklist

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net/netip"
	"strings"
	"time"

	"github.com/headgate/headgate/middleware/store"
)

// ErrFull is the error of [List.Add] where there are as many blocks as there may be.
var ErrFull = errors.New("there are as many blocks as there may be")

// Outcome is what came of a change.
type Outcome struct {
	// Block is the one that was added, or removed.
	Block Block
	// Unconfirmed are the instances that did not say within a second that the change is in force
	// there: those that run and are slow or cut off from Redis, and those that have died within
	// the last minute.
	Unconfirmed []Instance
}

// Instance is a process that follows the list.
type Instance struct {
	Name string `json:"instance"`
	// Silent is for how long it has not been heard of.
	Silent time.Duration `json:"-"`
}

const (
	maxText = 256
	// confirmWithin is how long a change waits for all instances.
	confirmWithin = time.Second
)

// Add blocks b.Network for a time; zero: until it is removed. A block of the same network is
// replaced. b.Since and b.Until are set by Add. An error means that nothing has changed, or, where
// it wraps store.ErrUnavailable, that Redis has refused it or did not say whether it has.
func (l *List) Add(ctx context.Context, b Block, d time.Duration) (Outcome, error) {
	switch {
	case !b.Network.IsValid() || b.Network != b.Network.Masked() || b.Network.Addr().Is4In6():
		return Outcome{}, fmt.Errorf("blocklist: %s is not a masked network, or an IPv4-mapped one", b.Network)
	case d < 0 || d > 0 && d < time.Millisecond:
		return Outcome{}, errors.New("blocklist: a block lasts for a millisecond at least; 0 means that it is permanent")
	case len(b.Reason) > maxText || len(b.By) > maxText:
		return Outcome{}, fmt.Errorf("blocklist: reason and author have at most %d bytes", maxText)
	}
	if l.o.Redis == nil {
		return l.addHere(b, d)
	}
	reply, err := l.write(ctx, l.addCall(b.Network, b.Reason, b.By, d.Milliseconds(), ""))
	if err != nil {
		return Outcome{}, err
	}
	if reply.word == "full" {
		return Outcome{}, fmt.Errorf("%w: %d", ErrFull, l.o.Max)
	}
	return l.confirm(ctx, b.Network, reply)
}

// Remove ends the block of a network, and reports whether there was one; blocks that are wider or
// narrower stay. An error is as Add's.
func (l *List) Remove(ctx context.Context, network netip.Prefix) (o Outcome, found bool, err error) {
	o.Block.Network = network
	if l.o.Redis == nil {
		l.mu.Lock()
		defer l.mu.Unlock()
		h := l.blocks[network]
		if h == nil || h.end <= l.clock() {
			return o, false, nil
		}
		delete(l.blocks, network)
		l.rebuild()
		o.Block = h.block(network)
		return o, true, nil
	}
	l.mu.Lock()
	h := l.blocks[network]
	l.mu.Unlock()
	reply, err := l.write(ctx, removeScript.Call(l.keys(), l.instance, network.String(), l.channel()))
	if err != nil || reply.word == "none" {
		return o, false, err
	}
	if o, err = l.confirm(ctx, network, reply); h != nil {
		o.Block = h.block(network)
	}
	return o, true, err
}

// addHere is Add without Redis.
func (l *List) addHere(b Block, d time.Duration) (Outcome, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	now := l.clock()
	if len(l.blocks) >= l.o.Max && l.blocks[b.Network] == nil {
		l.rebuild() // some may have ended
		if len(l.blocks) >= l.o.Max {
			return Outcome{}, fmt.Errorf("%w: %d", ErrFull, l.o.Max)
		}
	}
	h := &held{since: now, end: forever, reason: b.Reason, by: b.By}
	if d > 0 {
		h.end = now + d.Milliseconds()
	}
	l.blocks[b.Network] = h
	l.rebuild()
	return Outcome{Block: h.block(b.Network)}, nil
}

// written is what a script says of a change.
type written struct {
	word string // ok; or full, none, there: nothing has changed
	at   position
	sure bool // this instance was among those that follow the list: the list of these was not lost
}

// addCall prepares the adding of a block: for so many milliseconds, 0 for ever. since is when a block began that
// Redis has lost, in milliseconds; else "".
func (l *List) addCall(network netip.Prefix, reason, by string, ms int64, since string) *store.Call {
	text, err := json.Marshal(storedText{Reason: reason, By: by})
	if err != nil { // two strings
		panic(err)
	}
	return addScript.Call(l.keys(), l.instance, network.String(), string(text), ms, l.o.Max, l.channel(), newIdentity(), since)
}

// write runs a call that changes a block.
func (l *List) write(ctx context.Context, call *store.Call) (written, error) {
	if err := l.o.Redis.Do(store.Replicated(ctx), call); err != nil {
		return written{}, fmt.Errorf("blocklist: %w", err)
	}
	return readWritten(call)
}

func readWritten(call *store.Call) (w written, err error) {
	reply, err := call.Slice()
	if err != nil { // it is full, say, or the user may not
		return w, fmt.Errorf("blocklist: %w: %w", store.ErrUnavailable, err)
	}
	if len(reply) != 4 {
		return w, errReply
	}
	version, ok := reply[2].(int64)
	sure, ok2 := reply[3].(int64)
	if !ok || !ok2 {
		return w, errReply
	}
	w.word, _ = reply[0].(string)
	w.at.list, _ = reply[1].(string)
	w.at.version, w.sure = uint64(version), sure == 1
	return w, nil
}

// confirm has the change in force here, and waits for the other instances.
func (l *List) confirm(ctx context.Context, network netip.Prefix, w written) (Outcome, error) {
	o := Outcome{Block: Block{Network: network}}
	begun := time.Now()
	if err := l.Sync(ctx); err != nil {
		return o, fmt.Errorf("blocklist: Redis has the change, and does not say whether it is in force: %w", err)
	}
	l.mu.Lock()
	if h := l.blocks[network]; h != nil {
		o.Block = h.block(network)
	}
	l.mu.Unlock()
	presence := store.Presence{Redis: l.o.Redis, Key: l.keys()[presenceKey]}
	for pause := time.Millisecond; ; pause = min(2*pause, 50*time.Millisecond) {
		behind, err := presence.Behind(ctx, w.at.list, w.at.version, rememberInstances)
		if err != nil {
			return o, fmt.Errorf("blocklist: Redis has the change, and does not say where it is in force: %w", err)
		}
		left := confirmWithin - time.Since(begun)
		if left <= 0 || len(behind) == 0 && w.sure {
			for _, b := range behind {
				name, _, _ := strings.Cut(b.Instance, " ")
				o.Unconfirmed = append(o.Unconfirmed, Instance{name, max(0, presenceLease-b.Left)})
			}
			return o, nil
		}
		timer := time.NewTimer(min(pause, left))
		select {
		case <-timer.C:
		case <-ctx.Done():
			timer.Stop()
			return o, context.Cause(ctx)
		}
	}
}
