package main

import (
	"context"
	"log/slog"
	"os"
	"os/signal"
	"syscall"

	"github.com/headgate/headgate/gateway/server"
	"github.com/headgate/headgate/policies"
	"github.com/spf13/cobra"
)

func newServe() *cobra.Command {
	var files []string
	cmd := &cobra.Command{
		Use:   "serve",
		Short: "Run the gateway (also what a bare headgate -p FILE does)",
		Long: "serve runs the gateway until SIGTERM or SIGINT, then finishes what is in flight\n" +
			"within server.shutdown_grace. SIGHUP reloads the policy; one that is broken\n" +
			"leaves the last good one running.",
		Args: cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error { return serve(cmd, files) },
	}
	policyFlag(cmd.Flags(), &files)
	return cmd
}

func serve(cmd *cobra.Command, files []string) error {
	policy, err := loadPolicy(cmd, files)
	if err != nil {
		return err
	}
	log := slog.New(slog.NewTextHandler(cmd.ErrOrStderr(), nil))
	s, err := server.New(server.Options{
		Policy:  policy,
		Load:    func() (*policies.Policy, error) { return reload(files) },
		Logger:  log,
		Version: programVersion(),
	})
	if err != nil {
		return failed(err)
	}

	signals := make(chan os.Signal, 4)
	signal.Notify(signals, syscall.SIGTERM, syscall.SIGINT, syscall.SIGHUP)
	defer signal.Stop(signals)
	if err := s.Start(); err != nil {
		_ = s.Shutdown(context.Background()) // nothing is in flight
		return failed(err)
	}

	var broken error
	for running := true; running; {
		select {
		case sig := <-signals:
			if sig == syscall.SIGHUP {
				_ = s.Reload("SIGHUP") // it has logged what is wrong
				continue
			}
			running = false
		case <-cmd.Context().Done():
			running = false
		case broken = <-s.Failed():
			running = false
		}
	}
	grace, cancel := context.WithTimeout(context.WithoutCancel(cmd.Context()), policy.Server.ShutdownGrace.Std())
	defer cancel()
	if err := s.Shutdown(grace); broken == nil {
		broken = err
	}
	return failed(broken)
}

// reload loads the policy files again.
func reload(files []string) (*policies.Policy, error) {
	p, found := policies.LoadFiles(files, policies.LoadOptions{})
	if err := found.Err(); err != nil {
		return nil, err
	}
	return p, nil
}
