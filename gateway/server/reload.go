package server

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"

	"github.com/headgate/headgate/middleware/store"
	"github.com/headgate/headgate/policies"
)

// errHeld refuses a reload during a rollback. Its text is for operators.
type errHeld struct{ to int }

func (e errHeld) Error() string {
	return fmt.Sprintf("the rollback to policy %d holds, as the policy's files have not changed since; change them, or run `headgate reload --file` to end it", e.to)
}

// Reload loads the policy with Options.Load and runs it from the next request
// on, if it differs from the one that runs. Where anything is wrong with it, the
// running one stays, and the error says why; the log, /policy and the
// metrics show it as well. While a rollback holds, a policy whose files say what they said at the rollback
// is refused. by is who or what asked, for the history.
func (s *Server) Reload(by string) error {
	_, err := s.reload(by, false)
	return err
}

// reload is Reload, and reports whether another policy runs now. endRollback
// runs what the files say even while a rollback holds.
func (s *Server) reload(by string, endRollback bool) (changed bool, err error) {
	if s.options.Load == nil {
		return false, errors.New("this gateway was started without a way to load its policy again")
	}
	s.loading.Lock() // of two reloads, the one that reads last must win
	defer s.loading.Unlock()
	p, err := s.options.Load() // without mu: Shutdown does not wait for slow files
	s.mu.Lock()
	defer s.mu.Unlock()
	if err != nil {
		return false, s.rejected(err)
	}
	if to, holds := s.revisions.holdsAgainst(p.Hash()); holds && !endRollback {
		s.loadable()
		err := errHeld{to}
		s.log.Warn("the policy was not reloaded", "by", by, "reason", err.Error())
		return false, err
	}
	if changed, err = s.run(p, entry{by: by}); err == nil {
		s.revisions.filed(p)
	}
	return changed, err
}

// Run replaces the running policy with one that the caller has loaded, and ends
// a rollback. It does nothing where the policy is the one that runs.
func (s *Server) Run(p *policies.Policy, by string) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	_, err := s.run(p, entry{by: by})
	return err
}

// Rollback runs a policy of the history again. It holds until the policy's
// files say something else than they say now: neither a reload
// nor a secret that is replaced brings back what was rolled back.
func (s *Server) Rollback(_ context.Context, number int, by string) error {
	s.loading.Lock()
	defer s.loading.Unlock()
	p := s.revisions.policy(number)
	if p == nil {
		return fmt.Errorf("the history has no policy %d", number)
	}
	e := entry{by: fmt.Sprintf("%s, rolled back to %d", by, number)}
	var loadErr error
	if s.options.Load != nil {
		e.rollback = number
		// An edit from before the rollback must not undo it, even one that the gateway has not loaded yet.
		var filed *policies.Policy
		if filed, loadErr = s.options.Load(); loadErr == nil {
			s.revisions.filed(filed)
		}
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	if _, err := s.run(p, e); err != nil {
		return err
	}
	if loadErr != nil {
		s.unloadable(loadErr)
	}
	return nil
}

// run runs a policy if it is not the one that runs already, and reports whether it was not. s.mu is held.
func (s *Server) run(p *policies.Policy, e entry) (changed bool, err error) {
	if s.draining.Load() {
		return false, errors.New("the gateway is shutting down")
	}
	if e.made = fingerprintOf(p); s.revisions.runs(e.made) {
		s.keep(p, e)
		return false, nil
	}
	if err := restartNeeded(s.options.Policy, p); err != nil {
		return false, s.rejected(err)
	}
	gen, err := s.compile(p)
	if err != nil {
		return false, s.rejected(err)
	}
	s.install(gen, e)
	s.metrics.Reloaded()
	s.metrics.PolicyLoadable(true)
	if to, held := s.revisions.held(); held {
		s.log.Info("the policy has been rolled back", "policy", gen.hash, "to", to, "by", e.by,
			"until", "the policy's files change, or headgate reload --file")
	} else {
		s.log.Info("the policy has been reloaded", "policy", gen.hash, "by", e.by)
	}
	return true, nil
}

// keep notes that the policy to run is the one that runs. It may begin or end a rollback.
func (s *Server) keep(p *policies.Policy, e entry) {
	_, before := s.revisions.held()
	s.revisions.hold(e)
	s.loadable()
	to, after := s.revisions.held()
	switch {
	case after:
		s.log.Info("the policy that runs is the one to roll back to", "policy", p.Hash(), "to", to, "by", e.by,
			"until", "the policy's files change, or headgate reload --file")
	case before:
		s.log.Info("the rollback has ended: the policy's files say what runs", "policy", p.Hash(), "by", e.by)
	default:
		s.log.Info("the policy has not changed; nothing was reloaded", "policy", p.Hash(), "by", e.by)
	}
}

// rejected notes that a policy can't run, and returns why.
func (s *Server) rejected(err error) error {
	s.metrics.ReloadFailed()
	s.unloadable(err)
	s.log.Error("the policy was not reloaded; the last good one runs on", "error", err)
	return err
}

// unloadable shows at /policy and in the metrics what is wrong with the policy's files.
func (s *Server) unloadable(err error) {
	s.metrics.PolicyLoadable(false)
	s.revisions.fail(err)
}

// loadable takes back what unloadable has shown.
func (s *Server) loadable() {
	s.metrics.PolicyLoadable(true)
	s.revisions.fail(nil)
}

// sameRedis compares options; what is in a url_file is followed without a restart.
func sameRedis(a, b store.Options) bool {
	follow := func(url *string, file, was string, before string) {
		if file != "" && file == was {
			*url = before
		}
	}
	follow(&b.URL, b.URLFile, a.URLFile, a.URL)
	follow(&b.Sessions.URL, b.Sessions.URLFile, a.Sessions.URLFile, a.Sessions.URL)
	follow(&b.Cache.URL, b.Cache.URLFile, a.Cache.URLFile, a.Cache.URL)
	follow(&b.Jobs.URL, b.Jobs.URLFile, a.Jobs.URLFile, a.Jobs.URL)
	return a == b
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
	differs("server.min_body_rate", a.MinBodyRate == b.MinBodyRate)
	differs("server.body_timeout", a.BodyTimeout == b.BodyTimeout)
	differs("server.write_timeout", a.WriteTimeout == b.WriteTimeout)
	differs("server.spool_dir", a.SpoolDir == b.SpoolDir)
	differs("server.max_connections", a.MaxConnections == b.MaxConnections)
	differs("server.max_connections_per_ip", a.MaxConnectionsPerIP == b.MaxConnectionsPerIP)
	differs("server.max_streams", a.MaxStreams == b.MaxStreams)
	differs("server.shutdown_delay", a.ShutdownDelay == b.ShutdownDelay)
	differs("jobs.listen", old.Jobs.Listen == new.Jobs.Listen)
	differs("server.log.format", a.Log.Format == b.Log.Format)
	differs("redis", sameRedis(old.Redis, new.Redis))
	if keys == nil {
		return nil
	}
	return fmt.Errorf("%s cannot change in a running gateway; restart it, or change it back", strings.Join(keys, ", "))
}
