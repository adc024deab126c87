package jobs

import (
	"embed"
	"fmt"
	"strings"

	"github.com/headgate/headgate/middleware/store"
)

//go:embed lua/*.lua
var lua embed.FS

// scripts are the methods of a backend in Redis. Redis builds the functions of a script in each run, so that each script has those alone that it needs.
type scripts struct {
	take, claim, renew, finish, cancel, owner, view, list, pause, retry, plan, stats *store.Script
}

func newScripts() *scripts {
	return &scripts{
		take:   script("standing", "store", "room", "take"),
		claim:  script("over", "claim"),
		renew:  script("renew"),
		finish: script("store", "over", "room", "finish"),
		cancel: script("over", "cancel_one", "cancel"),
		owner:  script("over", "cancel_one", "owner"),
		view:   script("standing", "show", "view"),
		list:   script("standing", "show", "list"),
		pause:  script("pause"),
		retry:  script("over", "again", "retry"),
		plan:   script("store", "plan"),
		stats:  script("standing", "room", "stats"),
	}
}

// script joins common.lua and other files of the lua folder, behind what they share with Go.
func script(names ...string) *store.Script {
	var text strings.Builder
	fmt.Fprintf(&text, "local overhead = %d -- bytes, besides its head and its body, that a job counts\n", jobOverhead)
	for _, name := range append([]string{"common"}, names...) {
		b, err := lua.ReadFile("lua/" + name + ".lua")
		if err != nil {
			panic(err) // impossible: the files are part of the program
		}
		text.Write(b)
		text.WriteByte('\n')
	}
	return store.NewScript(text.String())
}
