// Exactness finds out whether a gateway's rate limit is the limit that it was configured with,
// over all instances together. It asks any gateway over HTTP:
//
//	go run ./tools/exactness -url http://127.0.0.1:8081 -url http://127.0.0.1:8082 \
//	    -algorithm sliding_window -requests 60 -window 6s -identity header:X-Client
//
// Each -url is an instance; all of them share one limit of so many requests per window for each
// client, on a route that answers 200. The folder configurations has that for some gateways. A
// client is the address that the requests come from, or the value of a header that the gateway
// limits by: with a header each check has clients of its own, and the checks run at once; without
// one they run one after the other, with a pause of two windows between them.
//
// It prints each check, what it found, and what was allowed, and exits 1 if one has failed, 2 for
// flags that make no sense. A window of some seconds is enough; a check takes four of them at most.
//
// What is counted is certain: a request counts for a span of time only if it was both sent and
// answered within it. So a slow network never makes a gateway look worse than it is.
package main

import (
	"cmp"
	"context"
	"encoding/json"
	"flag"
	"fmt"
	"io"
	"os"
	"os/signal"
	"slices"
	"strings"
	"syscall"
	"time"
)

// limit is what the gateway was configured with.
type limit struct {
	algorithm string
	requests  int
	window    time.Duration
	burst     int
}

func main() {
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	code := run(ctx, os.Args[1:], os.Stdout, os.Stderr)
	stop()
	os.Exit(code)
}

func run(ctx context.Context, args []string, stdout, stderr io.Writer) int {
	flags := flag.NewFlagSet("exactness", flag.ContinueOnError)
	flags.SetOutput(stderr)
	var urls []string
	flags.Func("url", "an instance's URL, of a route that is limited; once for each instance", func(s string) error {
		urls = append(urls, s)
		return nil
	})
	var l limit
	flags.StringVar(&l.algorithm, "algorithm", "sliding_window", "how the gateway says that it counts: "+strings.Join(algorithms, ", "))
	flags.IntVar(&l.requests, "requests", 60, "the limit: requests per window")
	flags.DurationVar(&l.window, "window", 6*time.Second, "the limit's window")
	flags.IntVar(&l.burst, "burst", 0, "the bucket of token_bucket; 0: as many as -requests")
	identity := flags.String("identity", "ip", "who a client is to the gateway: ip, or header:NAME")
	only := flags.String("only", "", "the names of the checks to run, with commas; empty: all")
	asJSON := flags.Bool("json", false, "print the results as JSON")
	if err := flags.Parse(args); err != nil {
		return 2
	}
	l.burst = cmp.Or(l.burst, l.requests)
	t, err := newTarget(urls, *identity)
	if err == nil {
		err = l.validate()
	}
	chosen, err2 := choose(*only)
	if err = cmp.Or(err, err2); err != nil {
		_, _ = fmt.Fprintln(stderr, "exactness:", err)
		return 2
	}
	results, err := runChecks(ctx, t, l, chosen)
	if err != nil {
		_, _ = fmt.Fprintln(stderr, "exactness:", err)
		return 1
	}
	if *asJSON {
		_ = json.NewEncoder(stdout).Encode(results)
	} else {
		printTable(stdout, results)
	}
	if slices.ContainsFunc(results, func(r result) bool { return r.Verdict == failed }) {
		return 1
	}
	return 0
}

var algorithms = []string{"fixed_window", "sliding_window", "sliding_log", "token_bucket"}

func (l limit) validate() error {
	switch {
	case !slices.Contains(algorithms, l.algorithm):
		return fmt.Errorf("-algorithm %s is unknown; use one of %s", l.algorithm, strings.Join(algorithms, ", "))
	case l.requests < 10:
		return fmt.Errorf("-requests %d is too small to tell; use 10 or more", l.requests)
	case l.window < 2*time.Second:
		return fmt.Errorf("-window %v is too short to tell; use 2s or more", l.window)
	case l.burst < 1:
		return fmt.Errorf("-burst %d: a bucket holds at least one request", l.burst)
	}
	return nil
}

// most is how many requests may be admitted within a span of time, by the algorithm's definition.
func (l limit) most(span time.Duration) int {
	switch l.algorithm {
	case "token_bucket":
		return l.burst + int(float64(l.requests)*float64(span)/float64(l.window)) + 1
	case "sliding_log":
		return l.requests * int((span+l.window-1)/l.window)
	}
	// A span of a window's length can lie across two windows.
	return l.requests * (int((span+l.window-1)/l.window) + 1)
}

// atOnce is how many requests are admitted that come at once, from a client that is new.
func (l limit) atOnce() int {
	if l.algorithm == "token_bucket" {
		return l.burst
	}
	return l.requests
}

func printTable(w io.Writer, results []result) {
	for _, r := range results {
		_, _ = fmt.Fprintf(w, "%-6s  %-22s %s\n        %-22s allowed: %s\n", r.Verdict, r.Check, r.Found, "", r.Allowed)
	}
}
