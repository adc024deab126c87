package ratelimit

import (
	"embed"
	"strings"
	"sync/atomic"

	"github.com/headgate/headgate/middleware/store"
)

//go:embed lua/*.lua
var lua embed.FS

// needs is what a script must contain: a bit for each line of the table of
// algorithms, needsPending and needsBan.
type needs uint16

const (
	needsPending needs = 1 << (len(algorithms) + iota)
	needsBan
	allNeeds
)

// needsOf returns what the scripts for a limit must contain that is counted by a.
func needsOf(a *algorithm, reserves, bans bool) (n needs) {
	for i := range algorithms {
		word := algorithms[i].word
		// pending.lua counts by sliding_window.
		if word == a.word || word == SlidingWindow && reserves {
			n |= 1 << i
		}
	}
	if reserves {
		n |= needsPending
	}
	if bans {
		n |= needsBan
	}
	return n
}

// scripts are the scripts that limits use, by what they contain: Redis builds
// every function of a script anew in each run, and leaving out the algorithms that no
// limit of the request has saves it a third of the work.
type scripts struct {
	check, settle, report [allNeeds]atomic.Pointer[store.Script]
	ban, renew            *store.Script
}

func newScripts() *scripts {
	return &scripts{ban: store.NewScript(source("banned", "ban")), renew: store.NewScript(source("common", "renew"))}
}

// checkFor returns lua/check.lua with what it needs.
func (s *scripts) checkFor(n needs) *store.Script { return assembled(&s.check[n], n, "check") }

// settleFor returns lua/settle.lua with what it needs.
func (s *scripts) settleFor(n needs) *store.Script { return assembled(&s.settle[n], n, "settle") }

// reportFor returns lua/report.lua with what it needs.
func (s *scripts) reportFor(n needs) *store.Script { return assembled(&s.report[n], n, "report") }

// assembled returns the script at p, and makes it at its first use. Where two
// requests make it at once, both texts are the same.
func assembled(p *atomic.Pointer[store.Script], n needs, main string) *store.Script {
	if s := p.Load(); s != nil {
		return s
	}
	names := []string{"common"}
	for i := range algorithms {
		if n&(1<<i) != 0 {
			names = append(names, string(algorithms[i].word))
		}
	}
	if n&needsPending != 0 {
		names = append(names, "pending")
	}
	if n&needsBan != 0 {
		names = append(names, "banned")
	}
	s := store.NewScript(source(append(names, main)...))
	p.Store(s)
	return s
}

// source joins files of the lua folder.
func source(names ...string) string {
	var text strings.Builder
	for _, name := range names {
		b, err := lua.ReadFile("lua/" + name + ".lua")
		if err != nil {
			panic(err) // impossible: a test reads every algorithm's file
		}
		text.Write(b)
		text.WriteByte('\n')
	}
	return text.String()
}
