package server

import (
	"github.com/headgate/headgate/internal/sysmem"
	"github.com/headgate/headgate/policies"
)

// The bounds of a share of the memory that the gateway may take.
const (
	memoryPart  = 16
	leastMemory = 16 << 20
	mostMemory  = 1 << 30
)

// memoryShare is the default of a key of the policy's memory: a 16th of what this process may take now.
func memoryShare() int64 { return min(max(sysmem.Available()/memoryPart, leastMemory), mostMemory) }

// countersMemory is what the policy gives to counters. By default every limit's counters fit into it.
func countersMemory(p *policies.Policy) int64 {
	if given := p.Memory.Counters; given > 0 {
		return given
	}
	bytes := memoryShare()
	for _, l := range p.Limits {
		if least, err := l.LeastMemory(); err == nil { // an error comes out when the limit is compiled
			bytes = max(bytes, least)
		}
	}
	return bytes
}

// cacheMemory is what the policy gives to cached answers.
func cacheMemory(p *policies.Policy) int64 {
	if given := p.Memory.Cache; given > 0 {
		return given
	}
	return memoryShare()
}

// growMemory makes room for a policy's limits before they are compiled, which fails for those that do not fit. undo takes
// it back.
func (s *Server) growMemory(p *policies.Policy) (undo func()) {
	c, wanted := s.parts.counters, countersMemory(p)
	_, limit := c.Memory()
	if wanted <= limit || s.parts.shared {
		return func() {}
	}
	c.SetMemory(wanted)
	return func() { c.SetMemory(limit) }
}

// boundMemory bounds the memory as the policy that runs says. What is kept stays, as far as it fits.
func (s *Server) boundMemory(p *policies.Policy) {
	s.parts.buffers.SetLimit(p.Memory.Buffers)
	if s.parts.shared {
		return
	}
	s.parts.counters.SetMemory(countersMemory(p))
	if c := s.parts.cache.Load(); c != nil {
		c.SetMemory(cacheMemory(p))
	}
}
