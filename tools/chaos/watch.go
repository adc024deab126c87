//go:build linux

package main

import (
	"context"
	"fmt"
	"time"
)

// watch looks five times a second whether a gateway has decided limits without Redis, and notes
// that time as an outage. On a busy machine Redis can be slower than redis.timeout without a fault.
func (l *lab) watch(ctx context.Context, g *gateway) {
	var last *process
	local, since := 0.0, time.Now()
	for sleep(ctx, 200*time.Millisecond) {
		p := g.running()
		if p == nil {
			continue
		}
		if p != last { // counters begin at zero
			lives := g.processes()
			last, local, since = p, 0, lives[len(lives)-1].from
		}
		v, err := g.vitals(ctx)
		if err != nil || g.running() != p {
			continue
		}
		now := time.Now()
		if v.local > local {
			l.report.decidedLocally(span{what: g.name + " decided limits by itself", from: since, to: now, outage: true}, v.local-local)
		}
		local, since = v.local, now
	}
}

// highest returns the highest of each figure of all gateways.
func (l *lab) highest(ctx context.Context) (most vitals, err error) {
	for _, g := range l.gateways {
		v, err := g.vitals(ctx)
		if err != nil {
			return most, fmt.Errorf("%s: %w", g.name, err)
		}
		most.goroutines = max(most.goroutines, v.goroutines)
		most.descriptors = max(most.descriptors, v.descriptors)
		most.memory = max(most.memory, v.memory)
	}
	return most, nil
}

// judgeReturn compares a gateway at rest with what the gateways had under load before the first
// fault. At rest each of the figures is lower, so a leak of some dozens shows; memory may double,
// as the runtime returns it late.
func judgeReturn(name string, before, now vitals) []finding {
	const goroutines, descriptors, memory = 30, 20, 64 << 20
	format := "%s at rest has %.0f %s, and under load before the first fault there were %.0f"
	return []finding{
		{invariant: returns, holds: now.goroutines <= before.goroutines+goroutines, detail: fmt.Sprintf(format, name, now.goroutines, "goroutines", before.goroutines)},
		{invariant: returns, holds: now.descriptors <= before.descriptors+descriptors, detail: fmt.Sprintf(format, name, now.descriptors, "descriptors", before.descriptors)},
		{invariant: returns, holds: now.memory <= 2*before.memory+memory, detail: fmt.Sprintf(format, name, now.memory, "bytes of memory", before.memory)},
	}
}

// returned waits until all gateways have returned to where they were, and judges them.
func (l *lab) returned(ctx context.Context, before vitals) {
	for _, g := range l.gateways {
		var found []finding
		err := eventually(ctx, g.name+" returns to where it was", func() error {
			v, err := g.vitals(ctx)
			if err != nil {
				return err
			}
			found = judgeReturn(g.name, before, v)
			for _, f := range found {
				if !f.holds {
					return fmt.Errorf("%s", f.detail)
				}
			}
			l.report.note("%s at the end: %.0f goroutines, %.0f descriptors, %.0f MiB; before the first fault, under load, at most %.0f, %.0f, %.0f",
				g.name, v.goroutines, v.descriptors, v.memory/(1<<20), before.goroutines, before.descriptors, before.memory/(1<<20))
			return nil
		})
		if err != nil && found == nil {
			l.report.judge(finding{invariant: returns, detail: err.Error()}, g.name)
		}
		for _, f := range found {
			l.report.judge(f, g.name)
		}
	}
}
