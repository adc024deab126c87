package server

import (
	"fmt"

	"github.com/headgate/headgate/gateway/observe"
	"github.com/headgate/headgate/gateway/pipeline"
	"github.com/headgate/headgate/middleware/proxy"
	"github.com/headgate/headgate/middleware/session"
	"github.com/headgate/headgate/policies"
)

// generation is a policy, compiled. It is complete before the first request
// sees it and does not change afterwards: a reload builds another one and
// swaps the pointer. What outlives it (connections, counters, sessions, the
// cache) is in parts.
type generation struct {
	*pipeline.Pipeline
	policy    *policies.Policy
	hash      string
	sessions  *session.Manager
	configs   map[string]proxy.Config // of upstreams
	upstreams prepared
	logWriter *observe.LogWriter // nil: there is no access log
	logOutput logOutput
	logFormat *observe.LogFormat
}

// compile builds a generation. All that can be wrong with a policy that has been
// loaded comes out here, before anything has changed.
func (s *Server) compile(p *policies.Policy) (*generation, error) {
	g := &generation{policy: p, hash: p.Hash(), configs: map[string]proxy.Config{}}
	var err error
	if g.sessions, err = s.parts.sessions.With(p.Session); err != nil {
		return nil, err
	}
	if len(p.Caches) > 0 {
		if err := s.openCache(p); err != nil {
			return nil, err
		}
	}
	if len(p.Queues) > 0 {
		if err := s.openJobs(p); err != nil {
			return nil, err
		}
	}
	for name, u := range p.Upstreams {
		if err := u.Check(); err != nil {
			return nil, fmt.Errorf("upstream %s: %w", name, err)
		}
		g.configs[name] = *u
	}
	if g.upstreams, err = s.parts.upstreams.prepare(g.configs); err != nil {
		return nil, err
	}
	if g.logWriter, g.logOutput, err = s.prepareLog(p); err != nil {
		g.upstreams.discard()
		return nil, err
	}
	g.logFormat = logFormat(p.Server.AccessLog)
	undo := s.growMemory(p)
	if g.Pipeline, err = pipeline.New(p, s.pipelineParts(g)); err != nil {
		undo()
		g.logOutput.discard()
		g.upstreams.discard()
		return nil, err
	}
	return g, nil
}

// pipelineParts gathers what a generation's stages work with.
func (s *Server) pipelineParts(g *generation) pipeline.Parts {
	return pipeline.Parts{
		Counters: s.parts.counters, Redis: s.parts.sharedRedis(), Sessions: g.sessions,
		Cache: s.parts.cache.Load(), Upstreams: g.upstreams.byName, CORS: s.parts.cors, Encoders: s.parts.encoders,
		Jobs: s.parts.jobs.Load(), Blocks: s.parts.blocks, Unheeded: s.noteUnheeded, Ending: s.ending,
		Metrics: s.metrics, AccessLog: g.logWriter, LogFormat: g.logFormat, Observe: s.options.Observe, Release: s.options.Release,
		Log: s.log, Now: s.options.Now,
	}
}

// install makes a generation the one that requests begin with from now on.
func (s *Server) install(g *generation, e entry) {
	s.boundMemory(g.policy)
	s.parts.upstreams.adopt(g.upstreams, g.configs)
	s.configureJobs(g.policy)
	s.accessLog.adopt(g.logOutput)
	if s.options.Level != nil {
		s.options.Level.Set(logLevels[g.policy.Server.Log.Level])
	}
	s.current.Store(g)
	s.keepWorking(g.policy)
	g.sessions.Govern()
	s.revisions.add(g.policy, g.hash, e, s.options.Now())
	s.metrics.PolicyLoaded()
}
