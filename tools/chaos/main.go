//go:build linux

// Chaos has things fail under load and looks whether what Headgate promises holds all the while:
//
//	go run ./tools/chaos [-for 10m] [-topology standalone,sentinel,cluster] [-seed N] [-old PATH]
//
// For each topology it starts Redis, two app servers, three gateways and HAProxy as real processes
// (the app servers are its own), with a TCP proxy between each gateway and each server of Redis. A
// seed determines which faults happen, in which order, to which process and for how long; what the
// clients do meanwhile depends on the machine as well. -old gives another version of the program,
// which the first gateway runs.
//
// It prints how many requests there were and what became of them, the faults, and how often each
// invariant was checked. It exits 1 when one was broken, or never checked, with the evidence; the
// logs of that run stay in a folder that it names.
//
// The files, in the order of a run: main.go, run.go, lab.go (redis.go, appserver.go with site.go,
// gateway.go, balancer.go); the faults: plan.go, faults.go; the clients and the invariants that they
// judge: client.go, limits.go, users.go, pages.go, jobs.go; watch.go; report.go.
package main

import (
	"bytes"
	"context"
	"errors"
	"flag"
	"fmt"
	"io"
	"os"
	"os/exec"
	"os/signal"
	"path/filepath"
	"slices"
	"strings"
	"syscall"
	"time"
)

func main() {
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	lasts := flag.Duration("for", 10*time.Minute, "how long faults happen, over all topologies")
	names := flag.String("topology", strings.Join(topologies, ","), "forms of Redis, one after the other")
	seed := flag.Uint64("seed", uint64(time.Now().UnixNano()), "what determines the faults")
	old := flag.String("old", "", "another version of the program, for the first gateway")
	flag.Parse()
	ok, err := chaos(ctx, os.Stdout, strings.Split(*names, ","), *old, *seed, *lasts)
	stop()
	if err != nil {
		fmt.Fprintln(os.Stderr, "chaos:", err)
	}
	if err != nil || !ok {
		os.Exit(1)
	}
}

// chaos runs the suite and reports whether every invariant held.
func chaos(ctx context.Context, w io.Writer, names []string, old string, seed uint64, lasts time.Duration) (ok bool, err error) {
	dir, err := os.MkdirTemp("", "chaos")
	if err != nil {
		return false, err
	}
	_, _ = fmt.Fprintf(w, "chaos: seed %d\n", seed)
	binary := filepath.Join(dir, "headgate")
	if out, err := exec.CommandContext(ctx, "go", "build", "-o", binary, "./gateway").CombinedOutput(); err != nil {
		return false, fmt.Errorf("go build ./gateway (is this the top of the tree?): %w: %s", err, out)
	}
	binaries := slices.Repeat([]string{binary}, gateways)
	if old != "" {
		binaries[0] = old
	}
	ok = true
	for _, name := range names {
		held, err := runTopology(ctx, w, filepath.Join(dir, name), name, binaries, seed, lasts/time.Duration(len(names)))
		if ok = ok && held; err != nil {
			return false, fmt.Errorf("%s: %w; the logs are in %s", name, err, dir)
		}
	}
	if !ok {
		_, _ = fmt.Fprintf(w, "\nchaos: broken; the logs are in %s; run again with -seed %d\n", dir, seed)
		return false, nil
	}
	return true, os.RemoveAll(dir)
}

func runTopology(ctx context.Context, w io.Writer, dir, name string, binaries []string, seed uint64, lasts time.Duration) (held bool, err error) {
	if err := os.Mkdir(dir, 0o755); err != nil {
		return false, err
	}
	r := newReport()
	_, _ = fmt.Fprintf(w, "\n## %s\n", name)
	l, err := newLab(ctx, dir, name, binaries, r)
	defer func() { l.close(!held) }()
	if err != nil {
		return false, err
	}
	err = l.run(ctx, seed, lasts)
	text := new(bytes.Buffer)
	r.print(text)
	_, _ = w.Write(text.Bytes())
	return err == nil && !r.failed(), errors.Join(err, os.WriteFile(filepath.Join(dir, "report.md"), text.Bytes(), 0o644))
}
