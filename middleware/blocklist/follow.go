package blocklist

import (
	"context"
	"crypto/rand"
	"encoding/json"
	"errors"
	"fmt"
	"net/netip"
	"os"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/headgate/headgate/middleware/store"
	"github.com/redis/go-redis/v9"
)

// position is a point in the history of a list.
type position struct {
	list    string // the list's random identity; "" is that of none
	version uint64
}

const (
	// heartbeat is how often an instance asks for what has changed, should a message be lost.
	heartbeat = 400 * time.Millisecond
	// presenceLease is for how long an instance is known to follow the list after it has asked.
	presenceLease = time.Second
	// rememberInstances is how long an instance that has not been heard of is named.
	rememberInstances = time.Minute
	// page is how many changes are read at once.
	page = 250
	// keepsHistory is for how long Redis keeps what a list was after its last block has ended. An
	// instance that has followed it since, and finds no list, knows that Redis has lost it.
	keepsHistory = 7 * 24 * time.Hour
)

var errReply = errors.New("blocklist: the reply of Redis cannot be read")

// presenceKey is the place of the instances among the keys.
const presenceKey = 5

func (l *List) keys() []string {
	keys := make([]string, 0, 6)
	for _, part := range []string{"head", "blocks", "ends", "versions", "removed", "instances"} {
		keys = append(keys, l.o.Redis.Key("{blocks}", part))
	}
	return keys
}

func (l *List) channel() string { return l.o.Redis.Key("blocks-changed") }

// nameOf returns what this process is called, and something that no other one has.
func nameOf(instance string) string {
	if instance == "" {
		host, err := os.Hostname()
		if err != nil {
			host = "unknown"
		}
		instance = host + ":" + strconv.Itoa(os.Getpid())
	}
	return strings.ReplaceAll(instance, " ", "-") + " " + rand.Text()
}

func newIdentity() string { return rand.Text() }

// Ready asks Redis for the blocks, if it has not been asked with success yet. It waits as long as
// the store's timeout at most, and fails where Redis is away.
func (l *List) Ready(ctx context.Context) error {
	if l.o.Redis == nil {
		return nil
	}
	l.mu.Lock()
	known := !l.synced.IsZero()
	l.mu.Unlock()
	if known {
		return nil
	}
	return l.Sync(ctx)
}

// Follow keeps the list up to date until ctx ends.
func (l *List) Follow(ctx context.Context) {
	if l.o.Redis == nil {
		return
	}
	l.mu.Lock()
	l.follows = true
	l.mu.Unlock()
	changed, done := make(chan struct{}, 1), make(chan struct{})
	go func() {
		defer close(done)
		l.listen(ctx, changed)
	}()
	defer func() {
		<-done
		l.leave()
	}()
	tick := time.NewTicker(heartbeat)
	defer tick.Stop()
	for failing := false; ; {
		begun := time.Now()
		err := l.Sync(ctx)
		if (err != nil) != failing && ctx.Err() == nil {
			if failing = err != nil; failing {
				l.o.Logger.Warn("blocks cannot be read from Redis; those that are known stay in force", "error", err)
			} else {
				l.o.Logger.Info("blocks are read from Redis again")
			}
		}
		// A long list takes time to apply. Where changes come fast, that is a fifth of this instance's time at most.
		if rest(ctx, min(4*time.Since(begun), heartbeat)) != nil {
			return
		}
		select {
		case <-ctx.Done():
			return
		case <-tick.C:
		case <-changed:
		}
	}
}

func rest(ctx context.Context, d time.Duration) error {
	timer := time.NewTimer(d)
	defer timer.Stop()
	select {
	case <-timer.C:
		return nil
	case <-ctx.Done():
		return ctx.Err()
	}
}

// leave tells Redis that no change has to wait for this instance any more.
func (l *List) leave() {
	l.mu.Lock()
	l.follows = false
	l.mu.Unlock()
	ctx, cancel := context.WithTimeout(context.Background(), l.o.Redis.Timeout())
	defer cancel()
	_ = l.o.Redis.Do(ctx, leaveScript.Call(l.keys()[presenceKey:], l.instance)) // if it fails, it is named for a minute
}

// listen receives the messages about changes. What it misses is found by heartbeats.
func (l *List) listen(ctx context.Context, changed chan<- struct{}) {
	for ctx.Err() == nil {
		sub := l.o.Redis.Client().Subscribe(ctx, l.channel())
		messages := sub.Channel()
		for open := true; open; {
			select {
			case <-ctx.Done():
				open = false
			case _, open = <-messages:
				select {
				case changed <- struct{}{}:
				default:
				}
			}
		}
		_ = sub.Close()
	}
}

// Sync asks Redis for what has changed, and has it in force.
func (l *List) Sync(ctx context.Context) error {
	l.mu.Lock()
	defer l.mu.Unlock()
	for {
		reply, err := l.ask(ctx, l.at, "")
		if err != nil {
			return err
		}
		if reply.at == l.at {
			break
		}
		if reply.all {
			err = l.replace(ctx, reply)
		} else if err = l.read(ctx, reply, l.blocks); err == nil {
			l.at = reply.at
			l.rebuild()
		}
		if err != nil {
			return err
		}
		// Once more: that tells Redis how far this instance is.
	}
	l.synced = time.Now()
	if l.unbuilt || len(l.blocks) > 0 && l.Len() < len(l.blocks)*3/4 {
		l.rebuild() // where not unbuilt, many have ended
	}
	return nil
}

// read reads what has changed, of which first is the first page, into blocks. first.at becomes the
// position that blocks then have.
func (l *List) read(ctx context.Context, first *changes, blocks map[netip.Prefix]*held) error {
	for reply := first; ; {
		for network, h := range reply.blocks {
			if h == nil {
				delete(blocks, network)
			} else {
				blocks[network] = h
			}
		}
		first.at = reply.at
		if reply.end == reply.at.version {
			return nil
		}
		next, err := l.ask(ctx, position{reply.at.list, reply.end}, "more")
		if err != nil {
			return err
		}
		if next.all {
			return errors.New("blocklist: the list has been replaced while it was read")
		}
		reply = next
	}
}

// lost is the position of an instance that has blocks which Redis may have lost.
var lost = position{list: "lost"}

// replace reads the whole of a list that is not the one that this instance knows, or has a history
// that is too short. What Redis has lost of the one that is known stays in force, and Redis gets it back.
func (l *List) replace(ctx context.Context, first *changes) error {
	known, blocks := l.blocks, map[netip.Prefix]*held{}
	if err := l.read(ctx, first, blocks); err != nil {
		return err
	}
	var missing []netip.Prefix
	if now := l.clock(); l.at == lost || time.Since(l.synced) < keepsHistory {
		for network, h := range known {
			if blocks[network] == nil && h.end > now {
				missing = append(missing, network)
				blocks[network] = h
			}
		}
	}
	l.blocks, l.at = blocks, lost
	l.rebuild()
	if err := l.restore(ctx, missing); err != nil {
		return err // the next Sync tries again
	}
	l.at = first.at
	l.unbuilt = true // what others have restored stays in force until their changes are read
	return nil
}

// restore gives blocks back to Redis that it has lost. Those of which it knows that they were removed
// are removed here.
func (l *List) restore(ctx context.Context, missing []netip.Prefix) error {
	restored, now := 0, l.clock()
	for chunk := range slices.Chunk(missing, page) {
		var calls []*store.Call
		var cmds []redis.Cmder
		for _, network := range chunk {
			h := l.blocks[network]
			left := int64(0)
			if h.end != forever {
				left = max(1, h.end-now)
			}
			call := l.addCall(network, h.reason, h.by, left, strconv.FormatInt(h.since, 10))
			calls, cmds = append(calls, call), append(cmds, call)
		}
		if err := l.o.Redis.Do(ctx, cmds...); err != nil {
			return err
		}
		for i, call := range calls {
			w, err := readWritten(call)
			if err != nil {
				return err
			}
			if w.word == "there" {
				delete(l.blocks, chunk[i]) // if it is blocked, what has changed since says so
			} else if w.word == "ok" {
				restored++
			}
		}
	}
	if restored > 0 {
		l.o.Logger.Warn("Redis had lost blocks, and has them again", "blocks", restored)
	}
	return nil
}

// changes is what a script says has changed since a position.
type changes struct {
	at     position // of the list now
	all    bool     // the list is another one, or its history is too short: blocks are all there are
	end    uint64   // the version up to which blocks go
	blocks map[netip.Prefix]*held
}

// storedText is what operators have written of a block.
type storedText struct {
	Reason string `json:"r,omitempty"`
	By     string `json:"b,omitempty"`
}

// ask asks for the changes since a position: that which is in force here, of which Redis is told so,
// or with "more" that at which a page has ended.
func (l *List) ask(ctx context.Context, since position, more string) (*changes, error) {
	instance := ""
	if more == "" && l.follows {
		instance = l.instance
	}
	sent := l.clock() - l.ahead.Load()
	call := followScript.Call(l.keys(), instance, since.list, since.version, newIdentity(), presenceLease.Milliseconds(), page, more)
	if err := l.o.Redis.Do(ctx, call); err != nil {
		return nil, err
	}
	reply, err := call.Slice()
	if err != nil {
		return nil, err
	}
	if len(reply) != 6 {
		return nil, errReply
	}
	c := &changes{blocks: map[netip.Prefix]*held{}}
	c.at.list, _ = reply[0].(string)
	numbers := [4]int64{}
	for i := range numbers {
		var ok bool
		if numbers[i], ok = reply[i+1].(int64); !ok {
			return nil, errReply
		}
	}
	c.at.version, c.all, c.end = uint64(numbers[0]), numbers[1] == 1, uint64(numbers[2])
	l.ahead.Store(numbers[3] - sent)
	list, ok := reply[5].([]any)
	if !ok {
		return nil, errReply
	}
	for ; len(list) >= 2; list = list[2:] {
		if err := c.add(list[0], list[1]); err != nil {
			return nil, err
		}
	}
	return c, nil
}

// add reads a block as Redis has it: since, end and text. "" is one that has been removed.
func (c *changes) add(name, value any) error {
	text, _ := name.(string)
	network, err := netip.ParsePrefix(text)
	if err != nil {
		return fmt.Errorf("%w: %w", errReply, err)
	}
	stored, _ := value.(string)
	if stored == "" {
		c.blocks[network] = nil
		return nil
	}
	var h held
	var words storedText
	begin, rest, _ := strings.Cut(stored, " ")
	end, about, _ := strings.Cut(rest, " ")
	if h.since, err = strconv.ParseInt(begin, 10, 64); err == nil {
		h.end, err = strconv.ParseInt(end, 10, 64)
	}
	if err == nil {
		err = json.Unmarshal([]byte(about), &words)
	}
	if err != nil {
		return fmt.Errorf("%w: %w", errReply, err)
	}
	if h.end == 0 {
		h.end = forever
	}
	h.reason, h.by = words.Reason, words.By
	c.blocks[network] = &h
	return nil
}
