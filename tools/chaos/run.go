//go:build linux

package main

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"sync"
	"time"
)

// warmUp is how long clients ask before the first fault.
const warmUp = 2 * time.Second

// run has faults happen to one topology for a time, under load, and judges all the while.
func (l *lab) run(ctx context.Context, seed uint64, lasts time.Duration) error {
	loadCtx, endLoad := context.WithCancel(ctx)
	defer endLoad()
	var load, watchers sync.WaitGroup
	limited, queued := &limitedClients{}, &jobs{}
	l.load(loadCtx, &load, limited, queued, seed)
	watchCtx, endWatch := context.WithCancel(ctx)
	defer endWatch()
	for _, g := range l.gateways {
		watchers.Go(func() { l.watch(watchCtx, g) })
	}
	if !sleep(ctx, warmUp) {
		return context.Cause(ctx)
	}
	before, err := l.highest(ctx)
	if err != nil {
		return err
	}
	until, end := context.WithTimeout(ctx, lasts)
	defer end()
	var lanes sync.WaitGroup
	for i, of := range []lane{gatewayLane, redisLane, appLane} {
		lanes.Go(func() { l.runLane(ctx, until, newDeck(of, l.redis.name, rand.New(rand.NewPCG(seed, uint64(i))))) })
	}
	lanes.Wait()
	l.calm(ctx)
	endLoad()
	load.Wait()
	queued.finish(ctx, l.report, l.site)
	l.returned(ctx, before)
	endWatch()
	watchers.Wait()
	l.judgeLimits(limited)
	return context.Cause(ctx)
}

// calm waits until there were two windows of the limit without an outage, at most for patience.
func (l *lab) calm(ctx context.Context) {
	_ = eventually(ctx, "a calm after the last fault", func() error {
		now := time.Now()
		j := limitJudge{outages: l.report.spans()}
		if outage, _ := j.during(now.Add(-2*limitWindow), now); outage {
			return errors.New("there was an outage just now")
		}
		return nil
	})
}

// load starts the clients, of each kind some.
func (l *lab) load(ctx context.Context, wg *sync.WaitGroup, limited *limitedClients, queued *jobs, seed uint64) {
	n := uint64(1000)
	client := func(name string) *client {
		n++
		return newClient(l.report, l.balancer.addr, name, rand.New(rand.NewPCG(seed, n)))
	}
	read := &purges{}
	for i := range 6 {
		c := client(fmt.Sprintf("limited%d", i))
		wg.Go(func() { limited.run(ctx, c, i%2 == 1) })
		first, second := client(fmt.Sprintf("user%d", i)), client(fmt.Sprintf("user%d-too", i))
		acts := 8
		if i < 2 {
			acts = 1000000 // these two stay logged in to the end
		}
		wg.Go(func() { beUser(ctx, first, second, acts) })
		r := client(fmt.Sprintf("reader%d", i))
		wg.Go(func() { read.read(ctx, r) })
	}
	for i := range 2 {
		u := client(fmt.Sprintf("uploader%d", i))
		wg.Go(func() { upload(ctx, u) })
		q := client(fmt.Sprintf("enqueuer%d", i))
		wg.Go(func() { queued.enqueue(ctx, q) })
	}
	e := client("editor")
	wg.Go(func() { read.edit(ctx, e, l.site, l.gateways) })
}

func (l *lab) judgeLimits(c *limitedClients) {
	j := limitJudge{limit: limitRequests, window: limitWindow, outages: l.report.spans()}
	for _, g := range l.gateways {
		j.processes = append(j.processes, g.processes()...)
	}
	most := 0
	for _, history := range c.history {
		most = max(most, j.judge(history, l.report.judge))
	}
	l.report.note("limit of %d in %v: at most %d were admitted in a window with an outage, by %d gateways", limitRequests, limitWindow, most, len(l.gateways))
}
