package main

import (
	"context"
	"fmt"
	"log/slog"
	"os"
	"os/signal"
	"runtime"
	"sync/atomic"
	"syscall"

	"github.com/headgate/headgate/gateway/server"
	"github.com/headgate/headgate/policies"
	"github.com/redis/go-redis/v9"
	"github.com/spf13/cobra"
)

func newServe() *cobra.Command {
	var files []string
	var watch bool
	cmd := &cobra.Command{
		Use:   "serve",
		Short: "Run the gateway (also what a bare headgate -p FILE does)",
		Long: "serve runs the gateway until SIGTERM or SIGINT, then finishes what is in flight\n" +
			"within server.shutdown_grace. The policy is reloaded when its files change, and on\n" +
			"SIGHUP; one that is broken leaves the last good one running.",
		Args: cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error { return serve(cmd, files, watch) },
	}
	policyFlag(cmd.Flags(), &files)
	cmd.Flags().BoolVar(&watch, "watch", true, "reload the policy when its files change")
	return cmd
}

func serve(cmd *cobra.Command, files []string, watch bool) error {
	policy, err := loadPolicy(cmd, files)
	if err != nil {
		return err
	}
	log := slog.New(slog.NewTextHandler(cmd.ErrOrStderr(), nil))
	redis.SetLogger(redisLog{log})
	ballast := newBallast()
	defer runtime.KeepAlive(ballast)
	loader := &policyLoader{names: files}
	loader.current.Store(policy)
	s, err := server.New(server.Options{
		Policy:  policy,
		Load:    loader.load,
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

	ctx, stop := context.WithCancel(cmd.Context())
	defer stop()
	if watch {
		go watchFiles(ctx, loader.files, log, func() { _ = s.Reload("file change") }) // it has logged what is wrong
	}
	var broken error
	for running := true; running; {
		select {
		case sig := <-signals:
			if sig == syscall.SIGHUP {
				_ = s.Reload("SIGHUP")
				continue
			}
			running = false
		case <-ctx.Done():
			running = false
		case broken = <-s.Failed():
			running = false
		}
	}
	stop()
	grace, cancel := context.WithTimeout(context.WithoutCancel(ctx), s.ShutdownGrace())
	defer cancel()
	if err := s.Shutdown(grace); broken == nil {
		broken = err
	}
	return failed(broken)
}

// policyLoader loads the policy files again, and knows which ones it was made
// of the last time.
type policyLoader struct {
	names   []string
	current atomic.Pointer[policies.Policy]
}

func (l *policyLoader) load() (*policies.Policy, error) {
	p, found := policies.LoadFiles(l.names, policies.LoadOptions{})
	if err := found.Err(); err != nil {
		return nil, err
	}
	l.current.Store(p)
	return p, nil
}

func (l *policyLoader) files() []string { return append(l.current.Load().Files(), l.names...) }

// redisLog takes what go-redis would print: every failed connection, while we
// say once that Redis is away.
type redisLog struct{ log *slog.Logger }

func (l redisLog) Printf(_ context.Context, format string, args ...any) {
	l.log.Debug("go-redis", "message", fmt.Sprintf(format, args...))
}
