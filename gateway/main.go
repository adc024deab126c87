// Command headgate is an API gateway in front of several app servers: rate
// limits, shared sessions, a response cache and job queues, driven by one policy file.
package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"os/signal"
	_ "time/tzdata" // schedules name time zones, also in an image without any

	"github.com/spf13/cobra"
)

func main() {
	// The first signal ends commands in order; serve handles its own.
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt)
	defer stop()
	os.Exit(run(ctx, os.Args[1:], os.Stdout, os.Stderr))
}

// Exit codes.
const (
	exitOK     = 0
	exitFailed = 1 // what was asked for did not succeed
	exitMisuse = 2 // it was not clear what was asked for
)

// failure is an error whose command was used rightly. Where said is set, its
// text has been written already.
type failure struct {
	err  error
	said bool
}

func (f *failure) Error() string { return f.err.Error() }
func (f *failure) Unwrap() error { return f.err }

// failed marks an error as the outcome of a command, as opposed to its misuse.
func failed(err error) error {
	if err == nil {
		return nil
	}
	return &failure{err: err}
}

// errSaid ends a command that has said itself what is wrong.
var errSaid = &failure{err: errors.New("failed"), said: true}

// run runs the program and returns its exit code.
func run(ctx context.Context, args []string, stdout, stderr io.Writer) int {
	root := newRoot()
	root.SetArgs(args)
	root.SetOut(stdout)
	root.SetErr(stderr)
	err := root.ExecuteContext(ctx)
	var f *failure
	switch {
	case err == nil:
		return exitOK
	case errors.As(err, &f):
		if !f.said {
			fmt.Fprintf(stderr, "headgate: %v\n", err)
		}
		return exitFailed
	}
	fmt.Fprintf(stderr, "headgate: %v\nTry 'headgate --help'.\n", err)
	return exitMisuse
}

// newRoot returns the command tree. A bare `headgate -p FILE` serves.
func newRoot() *cobra.Command {
	root := &cobra.Command{
		Use:   "headgate",
		Short: "An API gateway: rate limits, shared sessions and a response cache in front of app servers",
		Long: "Headgate stands in front of several app servers and gives them per-IP rate limits,\n" +
			"sessions shared by every instance, and a response cache with real invalidation,\n" +
			"all driven by one policy file.",
		Args:          cobra.NoArgs,
		SilenceErrors: true,
		SilenceUsage:  true,
	}
	serve := newServe()
	root.Flags().AddFlagSet(serve.Flags())
	root.RunE = serve.RunE
	root.AddCommand(serve, newInit(), newCheck(), newExplain(), newTest(), newReplay(), newDiff(), newSchema(),
		newPurge(), newBlock(), newUnblock(), newBlocks(), newLimits(), newJobs(), newWork(), newUpstreams(), newSessions(), newReload(), newHistory(), newRollback(), newProbe(), newVersion())
	return root
}
