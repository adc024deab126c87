package server

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"

	"github.com/headgate/headgate/policies"
)

// Reload loads the policy anew with Options.Load and runs it from the next
// request on. Where anything is wrong with it, the one that runs goes on, and
// the error says why; it is in the log, at /policy and in the metrics as well.
// by says who or what asked, for the history.
func (s *Server) Reload(by string) error {
	if s.options.Load == nil {
		return errors.New("this gateway was started without a way to load its policy anew")
	}
	s.mu.Lock() // from here on: of two reloads, the one that reads last must win
	defer s.mu.Unlock()
	p, err := s.options.Load()
	if err != nil {
		return s.rejected(err)
	}
	return s.run(p, by)
}

// Run replaces the running policy with one that has been loaded already. A
// policy that is the running one, to the letter, is not worth a revision.
func (s *Server) Run(p *policies.Policy, by string) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.run(p, by)
}

// run is Run with the lock held.
func (s *Server) run(p *policies.Policy, by string) error {
	if s.draining.Load() {
		return errors.New("the gateway is shutting down")
	}
	if err := restartNeeded(s.options.Policy, p); err != nil {
		return s.rejected(err)
	}
	gen, err := s.compile(p)
	if err != nil {
		return s.rejected(err)
	}
	s.install(gen, by)
	s.metrics.reloads.WithLabelValues("ok").Inc()
	s.metrics.reloadFailed.Set(0)
	s.log.Info("the policy has been reloaded", "policy", gen.hash, "by", by)
	return nil
}

// Rollback runs a policy of the history again.
func (s *Server) Rollback(_ context.Context, number int, by string) error {
	p := s.revisions.policy(number)
	if p == nil {
		return fmt.Errorf("the history has no policy %d", number)
	}
	return s.Run(p, fmt.Sprintf("%s, rolled back to %d", by, number))
}

func (s *Server) rejected(err error) error {
	s.metrics.reloads.WithLabelValues("error").Inc()
	s.metrics.reloadFailed.Set(1)
	s.revisions.fail(err)
	s.log.Error("the policy was not reloaded; the last good one runs on", "error", err)
	return err
}

// restartNeeded names the keys whose change takes a restart: those of what a
// running process holds open.
func restartNeeded(old, new *policies.Policy) error {
	var keys []string
	differs := func(key string, same bool) {
		if !same {
			keys = append(keys, key)
		}
	}
	a, b := old.Server, new.Server
	differs("server.listen", slices.Equal(a.Listen, b.Listen))
	differs("server.admin", a.Admin == b.Admin)
	differs("server.tls", (a.TLS == nil) == (b.TLS == nil) && (a.TLS == nil || *a.TLS == *b.TLS))
	differs("server.protocols", slices.Equal(a.Protocols, b.Protocols))
	differs("server.read_header_timeout", a.ReadHeaderTimeout == b.ReadHeaderTimeout)
	differs("server.max_header_bytes", a.MaxHeaderBytes == b.MaxHeaderBytes)
	differs("server.idle_timeout", a.IdleTimeout == b.IdleTimeout)
	differs("server.max_connections_per_ip", a.MaxConnectionsPerIP == b.MaxConnectionsPerIP)
	differs("server.shutdown_delay", a.ShutdownDelay == b.ShutdownDelay)
	differs("server.access_log", a.AccessLog == b.AccessLog)
	differs("redis", old.Redis == new.Redis)
	if keys == nil {
		return nil
	}
	return fmt.Errorf("%s cannot change in a running gateway; restart it, or change it back", strings.Join(keys, ", "))
}
