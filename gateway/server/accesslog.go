package server

import (
	"fmt"
	"io"
	"log/slog"
	"os"

	"github.com/headgate/headgate/gateway/observe"
	"github.com/headgate/headgate/policies"
)

// accessLog writes the lines of requests. It outlives policies; a reload may send the lines elsewhere. Server.mu guards it.
type accessLog struct {
	writer *observe.LogWriter // nil until a policy has a log
	path   string             // where the lines go; "" before there is one
	file   *observe.LogFile   // nil: a stream
}

// logOutput is where a policy wants the lines, opened unless they go there already.
type logOutput struct {
	path string
	out  io.Writer        // nil: what accessLog has stays
	file *observe.LogFile // nil: a stream, or what accessLog has stays
}

// prepareLog opens what server.access_log names. The writer is nil where it is off.
func (s *Server) prepareLog(p *policies.Policy) (*observe.LogWriter, logOutput, error) {
	to := logOutput{path: p.Server.AccessLog.Path}
	if s.options.AccessLog != nil {
		to.path = "Options.AccessLog"
	}
	switch {
	case to.path == policies.AccessLogOff && s.accessLog.writer == nil:
		return nil, to, nil
	case to.path == s.accessLog.path:
	case to.path == policies.AccessLogOff:
		to.out = io.Discard
	case s.options.AccessLog != nil:
		to.out = s.options.AccessLog
	case to.path == policies.AccessLogStdout:
		to.out = os.Stdout
	case to.path == policies.AccessLogStderr:
		to.out = os.Stderr
	default:
		f, err := observe.OpenLogFile(to.path, func(err error) {
			s.log.Error("the access log can't be opened anew; its lines go on to the file that was renamed", "error", err)
		})
		if err != nil {
			return nil, to, fmt.Errorf("server.access_log: %w", err)
		}
		to.out, to.file = f, f
	}
	if to.path == policies.AccessLogOff {
		return nil, to, nil
	}
	return s.logWriter(), to, nil
}

// discard closes what was opened for a policy that does not run.
func (o logOutput) discard() {
	if o.file != nil {
		_ = o.file.Close() // nothing was written
	}
}

// logWriter is made for the first policy that has a log, and kept.
func (s *Server) logWriter() *observe.LogWriter {
	l := &s.accessLog
	if l.writer == nil {
		lost := func(lines int) { s.metrics.LogDropped.Add(float64(lines)) }
		l.writer = observe.NewLogWriter(io.Discard, lost, func(lines int, why error) {
			s.log.Error("the access log has lost lines", "lines", lines, "error", why)
		})
		s.teardown.push(func() {
			l.writer.Close()
			if l.file != nil {
				_ = l.file.Close() // all that could be written is
			}
		})
	}
	return l.writer
}

// adopt sends the lines where the policy that runs now wants them.
func (l *accessLog) adopt(to logOutput) {
	if to.path == l.path || l.writer == nil {
		return
	}
	var left func()
	if old := l.file; old != nil {
		left = func() { _ = old.Close() }
	}
	l.writer.Use(to.out, left)
	l.path, l.file = to.path, to.file
}

// ReopenLog opens the file of the access log anew, after it was renamed. It does nothing where the log is no file.
func (s *Server) ReopenLog(by string) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.accessLog.file == nil || s.draining.Load() {
		return nil
	}
	if err := s.accessLog.file.Reopen(); err != nil {
		return fmt.Errorf("server.access_log: %w", err) // the file's owner has logged it
	}
	s.log.Info("the access log was opened anew", "path", s.accessLog.path, "by", by)
	return nil
}

// logFormat is how the policy's access log writes requests.
func logFormat(l policies.AccessLog) *observe.LogFormat {
	o := observe.LogOptions{Combined: l.Format == policies.AccessLogCombined, Mask: l.Mask, Add: l.Fields.Add}
	for _, field := range l.Fields.Drop {
		o.Drop = append(o.Drop, string(field))
	}
	return observe.NewLogFormat(o)
}

// hidden is what the running policy hides in logs.
func (s *Server) hidden() *observe.QueryMask {
	if g := s.current.Load(); g != nil {
		return g.logFormat.Mask()
	}
	return nil
}

// logLevels are those of policies.
var logLevels = map[policies.LogLevel]slog.Level{
	policies.LogDebug: slog.LevelDebug, policies.LogInfo: slog.LevelInfo, policies.LogWarn: slog.LevelWarn, policies.LogError: slog.LevelError,
}
