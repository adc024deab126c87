// Capacity measures what one of each thing costs Redis: the memory that it takes there, and the CPU
// time that Redis spends on it.
//
//	go run ./tools/capacity [-n 20000] [-only limits]
//
// For each row it starts a redis-server, which must be installed, and a gateway in this process,
// sends n requests over HTTP by 64 callers, and reads used_memory and Redis' own CPU time before
// and after. So what connections and the gateway's own polls take is in neither, or spread over n.
// docs/capacity.md has a run of it.
package main

import (
	"context"
	"flag"
	"fmt"
	"os"
	"os/signal"
	"strings"
	"syscall"
)

func main() {
	n := flag.Int("n", 20000, "how many of each")
	only := flag.String("only", "", "the rows whose name begins so")
	flag.Parse()
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	err := run(ctx, *n, *only)
	stop()
	if err != nil {
		fmt.Fprintln(os.Stderr, "capacity:", err)
		os.Exit(1)
	}
}

func run(ctx context.Context, n int, only string) error {
	if n < 1 {
		return fmt.Errorf("-n %d: at least one of each", n)
	}
	fmt.Printf("| %s | bytes in Redis, each | us of Redis, each |\n|---|---|---|\n", "one")
	for _, r := range rows {
		if !strings.HasPrefix(r.name, only) {
			continue
		}
		c, err := measure(ctx, r, n)
		if err != nil {
			return fmt.Errorf("%s: %w", r.name, err)
		}
		fmt.Printf("| %s | %s | %.1f |\n", r.name, c.bytes, c.micros)
	}
	return nil
}
