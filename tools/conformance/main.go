// Conformance runs the public HTTP caching test suite (http-cache-tests, by M.
// Nottingham, https://cache-tests.fyi) through a Headgate of this tree:
//
//	go run ./tools/conformance [-redis] [-instances N] [-strict] [-required N] [-optimal N] [-suite DIR] [ID...]
//	go run ./tools/conformance -h2spec N
//
// It installs the suite from npm into a temporary directory, starts its server,
// a Headgate before it that caches every path with `heuristic: true`, and its
// client, and judges as the suite does: cases that a cache is required to pass,
// cases that an optimal one passes, and questions that have no right answer. It
// prints each case that did not pass, with the suite's reason and with ours
// where we have one (known.go), then the counts. It exits 1 if they are below
// the floors or, with -strict, if a case failed for no reason of ours. It needs
// node and npm, and redis-server for -redis.
//
// The suite has gone on since its last release on npm: some cases there
// contradict RFC 9111, which is younger. The results that are published, of
// 160 required and 105 optimal cases, are of its repository,
// github.com/http-tests/cache-tests. -suite runs a checkout of that, where npm
// install has to have been run.
//
// -h2spec runs h2spec instead, a suite for HTTP/2 servers (h2spec.go), over TLS
// and without, and fails if fewer than N cases pass. Where the Go module proxy
// can't be reached, h2spec can't be had: it says so and exits 0.
package main

import (
	"context"
	"encoding/json"
	"errors"
	"flag"
	"fmt"
	"os"
	"os/exec"
	"os/signal"
	"path/filepath"
	"strconv"
	"syscall"
	"time"
)

// suitePackage is the suite's last release, which brings its node-fetch.
const suitePackage = "http-cache-tests@0.4.5"

// patience bounds everything: installing takes seconds, the run about half a
// minute.
const patience = 10 * time.Minute

func main() {
	redis := flag.Bool("redis", false, "keep what is cached in a redis-server, too")
	instances := flag.Int("instances", 1, "how many gateways share the redis-server, behind a round-robin balancer; several need -redis")
	suite := flag.String("suite", "", "a checkout of the suite; without it, "+suitePackage+" is installed")
	atOnce := flag.Int("at-once", 40, "how many cases run at a time; most of them wait 3 s")
	required := flag.Int("required", 0, "fail if fewer required cases pass")
	optimal := flag.Int("optimal", 0, "fail if fewer optimal cases pass")
	h2spec := flag.Int("h2spec", 0, "run h2spec instead, and fail if fewer of its cases pass")
	strict := flag.Bool("strict", false, "fail if a case does not pass that is meant to")
	flag.Parse()

	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	defer stop()
	ctx, cancel := context.WithTimeout(ctx, patience)
	defer cancel()
	if *h2spec > 0 {
		err := runH2spec(ctx, *h2spec, os.Stdout)
		if errors.Is(err, errNotHad) {
			fmt.Fprintln(os.Stdout, "conformance: not run:", err)
			return
		}
		exitOn(err, cancel)
		return
	}
	v, err := run(ctx, *suite, *redis, *instances, *atOnce, flag.Args())
	if err == nil {
		v.print(os.Stdout)
		err = v.fails(*required, *optimal, *strict)
	}
	exitOn(err, cancel)
}

func exitOn(err error, cancel func()) {
	if err != nil {
		fmt.Fprintln(os.Stderr, "conformance:", err)
		cancel()
		os.Exit(1)
	}
}

// fails says what is wrong with a result.
func (v *verdict) fails(required, optimal int, strict bool) error {
	var all []error
	if n := v.unknown(); strict && n > 0 {
		all = append(all, fmt.Errorf("%d cases failed that known.go does not know", n))
	}
	if v.required.passed < required {
		all = append(all, fmt.Errorf("%d required cases passed, %d should", v.required.passed, required))
	}
	if v.optimal.passed < optimal {
		all = append(all, fmt.Errorf("%d optimal cases passed, %d should", v.optimal.passed, optimal))
	}
	return errors.Join(all...)
}

// run measures, with only the cases of these IDs if there are any.
func run(ctx context.Context, root string, redis bool, instances, atOnce int, ids []string) (*verdict, error) {
	if instances < 1 || instances > 1 && !redis {
		return nil, errors.New("several instances share a Redis: add -redis")
	}
	programs := []string{"node", "npm", "go"}
	if redis {
		programs = append(programs, "redis-server")
	}
	if err := needs(programs...); err != nil {
		return nil, err
	}
	dir, err := os.MkdirTemp("", "conformance")
	if err != nil {
		return nil, err
	}
	defer os.RemoveAll(dir)
	l := &lab{ctx: ctx, dir: dir}
	defer l.stop()

	if root == "" {
		root, err = l.install()
	} else {
		root, err = filepath.Abs(root)
	}
	if err != nil {
		return nil, err
	}
	origin, err := l.serve(root)
	if err != nil {
		return nil, err
	}
	gateway, err := l.gateways(origin, instances, redis)
	if err != nil {
		return nil, err
	}

	result := filepath.Join(dir, "result.json")
	args := append([]string{"--no-warnings", l.write("driver.mjs", string(driver)), root, "http://" + gateway, strconv.Itoa(atOnce), result}, ids...)
	if out, err := exec.CommandContext(ctx, "node", args...).CombinedOutput(); err != nil {
		return nil, fmt.Errorf("the suite's client: %w: %s", err, lastLines(out))
	}
	text, err := os.ReadFile(result)
	if err != nil {
		return nil, err
	}
	var outcomes []outcome
	if err := json.Unmarshal(text, &outcomes); err != nil {
		return nil, fmt.Errorf("the driver's result: %w", err)
	}
	if len(outcomes) == 0 {
		return nil, errors.New("no case ran; is there one of that ID?")
	}
	v := judge(outcomes)
	return &v, nil
}

// lastLines returns the end of a program's output, where its error is.
func lastLines(out []byte) string { return string(out[max(0, len(out)-500):]) }
