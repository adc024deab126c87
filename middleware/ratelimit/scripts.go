package ratelimit

import (
	"embed"
	"strings"

	"github.com/headgate/headgate/middleware/store"
)

//go:embed lua/*.lua
var lua embed.FS

// needs is what a script must contain, a bit for each piece.
type needs uint8

const (
	needsFixedWindow needs = 1 << iota
	needsSlidingWindow
	needsSlidingLog
	needsTokenBucket
	needsPending
	allNeeds
)

// pieces are the files behind the bits, in the order in which a script has them.
var pieces = [...]string{"fixed_window", "sliding_window", "sliding_log", "token_bucket", "pending"}

// needsOf returns what the script for a limit must contain.
func needsOf(l Limit) (n needs) {
	switch l.Algorithm {
	case FixedWindow:
		n = needsFixedWindow
	case SlidingLog:
		n = needsSlidingLog
	case TokenBucket:
		n = needsTokenBucket
	default:
		n = needsSlidingWindow
	}
	if !l.Count.All() {
		n |= needsPending | needsSlidingWindow
	}
	return n
}

// scripts are all that can be needed, by what they contain: putting a script
// together from what its limits use saves Redis a third of the work.
type scripts struct {
	check, settle [allNeeds]*store.Script
	ban           *store.Script
}

func newScripts() *scripts {
	s := &scripts{ban: store.NewScript(source("ban"))}
	for n := range allNeeds {
		names := []string{"common"}
		for i, piece := range pieces {
			if n&(1<<i) != 0 {
				names = append(names, piece)
			}
		}
		s.check[n] = store.NewScript(source(append(names, "check")...))
		s.settle[n] = store.NewScript(source(append(names, "settle")...))
	}
	return s
}

// source joins files of the lua folder.
func source(names ...string) string {
	var text strings.Builder
	for _, name := range names {
		b, err := lua.ReadFile("lua/" + name + ".lua")
		if err != nil {
			panic(err) // the name of a file that is not in the program
		}
		text.Write(b)
		text.WriteByte('\n')
	}
	return text.String()
}
