//go:build linux

// Compare measures what a request costs at Headgate and at others, on the same
// machine, in one interleaved run:
//
//	go run ./tools/compare [-rounds 3] [-seconds 3] [-works all] [-rates 1000,4000,80%]
//	go run ./tools/compare -binary before=/tmp/headgate-of-before
//	go run ./tools/compare -build -contenders nginx,bare,headgate,traefik,caddy
//
// It starts an nginx as the origin and one process or more for each contender,
// all on free loopback ports. In each round it takes the works one after the
// other, and within a work the contenders one after the other, so that what
// disturbs the machine disturbs all of them. A figure is the median of its
// rounds. The figure to trust most is CPU time: the kernel's CPU clock of the
// contender's processes (user and system time, nginx' workers included), read
// before and after a measurement, over the requests that the loader counted.
// Redis' own CPU stands after a plus. Compare ratios within one run, never
// figures of two runs.
//
// Closed loop (the works): wrk -t1 -c64 asks for the next answer as soon as the
// last has arrived; for HTTP/2 it is h2load -t1 -c8 -m8. This finds the cost of
// a request on a busy gateway, and says nothing useful about latency.
//
// Open loop (the rates): a loader process of our own sends the i-th request at
// start + i/rate over 64 connections, whatever has become of the requests
// before it. Latency is counted from that intended time, so that a request that
// waits since all connections are busy is as late as its client would see it
// (coordinated omission is corrected). A rate of 80% is 80 % of the contender's
// saturation, which the same loader measures in the same round by sending as
// fast as answers arrive. The table says how late the loader itself was, from
// the time when a request was due and a connection free until it was sent:
// latencies of that order say nothing about the contender.
//
// It needs Linux, nginx, and for the works that use them wrk, h2load (Debian's
// nghttp2-client) and redis-server; it says which one is missing. Traefik (with
// fastProxy) and Caddy are built by -build from modules of their own in the
// folder contenders, into a cache folder, which takes minutes; later runs find
// them there. Everything it starts is stopped when
// it ends, also by a signal, and it ends at a deadline that follows from its
// flags.
package main

import (
	"cmp"
	"context"
	"flag"
	"fmt"
	"os"
	"os/signal"
	"runtime"
	"strings"
	"syscall"
	"time"
)

// plan is what the flags ask for.
type plan struct {
	works      []*work
	rates      []rate
	contenders []string
	binaries   []binary // more Headgate binaries
	rounds     int
	seconds    int
	build      bool
}

// binary is a Headgate binary and the name of its column.
type binary struct{ name, path string }

func main() {
	if err := dispatch(os.Args[1:]); err != nil {
		fmt.Fprintln(os.Stderr, "compare:", err)
		os.Exit(1)
	}
}

// dispatch runs one of the two internal commands, which are processes that a
// comparison starts and a signal ends at once, or the comparison.
func dispatch(args []string) error {
	switch {
	case len(args) > 0 && args[0] == "serve-bare":
		return serveBare(args[1:])
	case len(args) > 0 && args[0] == "load":
		return load(args[1:])
	}
	p, err := parse(args)
	if err != nil {
		return err
	}
	// The kernel stops our children when the thread that started them ends
	// (Pdeathsig), so that has to be the main thread.
	runtime.LockOSThread()
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	defer stop()
	ctx, cancel := context.WithTimeoutCause(ctx, p.deadline(), fmt.Errorf("it took more than %s", p.deadline()))
	defer cancel()
	return p.run(ctx)
}

func parse(args []string) (*plan, error) {
	p := &plan{}
	flags := flag.NewFlagSet("compare", flag.ExitOnError)
	flags.IntVar(&p.rounds, "rounds", 3, "how often each figure is measured; the median counts")
	flags.IntVar(&p.seconds, "seconds", 3, "how long each measurement takes")
	flags.BoolVar(&p.build, "build", false, "build those of traefik and caddy that -contenders names, into the cache folder")
	works := flags.String("works", "all", "closed loop: all, none, or some of "+strings.Join(workKeys(), ","))
	rates := flags.String("rates", "1000,4000,80%", "open loop: requests per second, or a share of each contender's saturation; or none")
	contenders := flags.String("contenders", "", "some of "+strings.Join(contenderNames(), ",")+" (default: all that are there)")
	flags.Func("binary", "`NAME=PATH` of one more Headgate binary to measure as a contender; may be repeated", func(s string) error {
		name, path, ok := strings.Cut(s, "=")
		if !ok || name == "" || path == "" {
			return fmt.Errorf("write NAME=PATH")
		}
		p.binaries = append(p.binaries, binary{name, path})
		return nil
	})
	if err := flags.Parse(args); err != nil {
		return nil, err
	}
	if flags.NArg() > 0 || p.rounds < 1 || p.seconds < 1 {
		return nil, fmt.Errorf("give flags alone, and at least 1 for -rounds and -seconds")
	}
	var err1, err2, err3 error
	p.works, err1 = parseWorks(*works)
	p.rates, err2 = parseRates(*rates)
	p.contenders, err3 = parseContenders(*contenders)
	return p, cmp.Or(err1, err2, err3)
}

// measurements is how many there are with so many contenders, at most.
func (p *plan) measurements(contenders int) int {
	rows := len(p.works) + len(p.rates)
	if len(p.rates) > 0 {
		rows++ // saturation
	}
	return p.rounds * contenders * rows
}

// deadline bounds the whole run, builds included.
func (p *plan) deadline() time.Duration {
	each := 2*time.Duration(p.seconds)*time.Second + 2*time.Second
	limit := time.Duration(p.measurements(len(p.contenders)+len(p.binaries)))*each + 3*time.Minute
	if p.build {
		limit += 20 * time.Minute
	}
	return limit
}

func (p *plan) run(ctx context.Context) error {
	lab, err := newLab(ctx)
	if err != nil {
		return err
	}
	defer lab.stop()
	r := &report{plan: p}
	p.leaveOutMissing(r)
	contenders, err := lab.startContenders(p, r)
	if err != nil {
		return err
	}
	fmt.Fprintf(os.Stderr, "about %d s to go\n", p.measurements(len(contenders))*p.seconds)
	for round := range p.rounds {
		order := rotated(contenders, round)
		for _, w := range p.works {
			for _, c := range order {
				lab.closedLoop(p, r, w, c)
			}
		}
		lab.openLoop(p, r, order)
		if ctx.Err() != nil {
			return context.Cause(ctx)
		}
	}
	r.print(os.Stdout, contenders)
	if r.failed {
		return fmt.Errorf("not all could be measured, see above")
	}
	return nil
}

// rotated begins each round with another contender, so that what follows a
// work's end does not always meet the same one.
func rotated[T any](all []T, by int) []T {
	by %= len(all)
	return append(append([]T{}, all[by:]...), all[:by]...)
}
