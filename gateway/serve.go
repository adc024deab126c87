package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	stdlog "log"
	"log/slog"
	"os"
	"os/signal"
	"runtime"
	"slices"
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
			"SIGHUP; where they are broken, the last good policy runs on. After a rollback\n" +
			"they must change, or `headgate reload --file` be run, before they run again.\n" +
			"SIGHUP and SIGUSR1 make the file of the access log anew where it was renamed.",
		Args: cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error { return serving{files: files, watch: watch}.run(cmd) },
	}
	policyFlag(cmd.Flags(), &files)
	cmd.Flags().BoolVar(&watch, "watch", true, "reload the policy when its files change")
	return cmd
}

// serving is a gateway that runs until it is told to end.
type serving struct {
	files       []string
	watch       bool   // reload the policy when its files change
	work        bool   // do jobs, and listen on no public address
	adminListen string // in the place of server.admin.listen; "" for that
}

// adjust changes a policy that has been loaded as the command's flags say.
func (o serving) adjust(p *policies.Policy) *policies.Policy {
	if p != nil && o.adminListen != "" {
		p.Server.Admin.Listen = o.adminListen
	}
	return p
}

func (o serving) run(cmd *cobra.Command) error {
	loader := &policyLoader{names: o.files}
	policy, found := loader.load()
	writeDiagnostics(cmd.ErrOrStderr(), found)
	if found.HasErrors() {
		hintWithoutPolicy(cmd.ErrOrStderr(), o.files)
		return errSaid
	}
	if o.work && len(policy.Queues) == 0 {
		return failed(errors.New("the policy has no queues, so that there are no jobs to do"))
	}
	level := new(slog.LevelVar)
	log := newLogger(cmd.ErrOrStderr(), policy.Server.Log.Format, level)
	redis.SetLogger(redisLog{log})
	structureLogs(log)
	ballast := newBallast()
	defer runtime.KeepAlive(ballast)
	s, err := server.New(server.Options{
		Policy: o.adjust(policy),
		Load: func() (*policies.Policy, error) {
			p, found := loader.load()
			return o.adjust(p), found.Err()
		},
		Work:    o.work,
		Logger:  log,
		Level:   level,
		Version: programVersion(),
	})
	if err != nil {
		return failed(err)
	}

	signals := make(chan os.Signal, 4)
	signal.Notify(signals, append(reopenSignals, syscall.SIGTERM, syscall.SIGINT, syscall.SIGHUP)...)
	defer signal.Stop(signals)
	if err := s.Start(); err != nil {
		_ = s.Shutdown(context.Background()) // nothing is in flight
		return failed(err)
	}

	ctx, stop := context.WithCancel(cmd.Context())
	defer stop()
	if o.watch {
		go watchFiles(ctx, loader, log, func() { _ = s.Reload("file change") }) // it has logged what is wrong
	}
	hangup := make(chan struct{}, 1)
	defer close(hangup)
	go func() { // SIGTERM does not wait for a reload
		for range hangup {
			_ = s.ReopenLog("SIGHUP") // it has logged what is wrong
			_ = s.Reload("SIGHUP")    // likewise
		}
	}()
	broken := untilEnded(ctx, s, signals, hangup)
	stop()
	grace, cancel := context.WithTimeout(context.WithoutCancel(ctx), s.ShutdownGrace())
	defer cancel()
	if err := s.Shutdown(grace); broken == nil {
		broken = err
	}
	return failed(broken)
}

// untilEnded hands signals on until one ends the program, and returns why the gateway failed, if it did.
func untilEnded(ctx context.Context, s *server.Server, signals <-chan os.Signal, hangup chan<- struct{}) error {
	for {
		select {
		case sig := <-signals:
			if sig == syscall.SIGHUP {
				select {
				case hangup <- struct{}{}:
				default: // the one that waits will read what is there by then
				}
				continue
			}
			if slices.Contains(reopenSignals, sig) {
				go func() { _ = s.ReopenLog("SIGUSR1") }() // it has logged what is wrong
				continue
			}
			return nil
		case <-ctx.Done():
			return nil
		case broken := <-s.Failed():
			return broken
		}
	}
}

// newLogger writes lines of at least this level in the format of the policy.
func newLogger(to io.Writer, format policies.LogFormat, level slog.Leveler) *slog.Logger {
	options := &slog.HandlerOptions{Level: level}
	if format == policies.LogJSON {
		return slog.New(slog.NewJSONHandler(to, options))
	}
	return slog.New(slog.NewTextHandler(to, options))
}

// structureLogs sends what libraries print by the standard logger to log, for
// debugging. net/http prints so what an app server has sent that HTTP/2 does not know,
// in bytes of the app server's choice.
func structureLogs(log *slog.Logger) {
	stdlog.SetFlags(0)
	stdlog.SetOutput(slog.NewLogLogger(log.Handler(), slog.LevelDebug).Writer())
}

// redisLog takes what go-redis would print: every failed connection, while we
// say once that Redis is away.
type redisLog struct{ log *slog.Logger }

func (l redisLog) Printf(_ context.Context, format string, args ...any) {
	l.log.Debug("go-redis", "message", fmt.Sprintf(format, args...))
}
