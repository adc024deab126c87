//go:build linux

package main

import (
	"context"
	"fmt"
	"math/rand/v2"
	"time"
)

// deck deals the faults of a lane in an order that a seed determines: all of them before one comes
// a second time.
type deck struct {
	lane   lane
	faults []fault
	rng    *rand.Rand
	left   []fault
}

func newDeck(of lane, topology string, rng *rand.Rand) *deck {
	d := &deck{lane: of, rng: rng}
	for _, f := range faults {
		if f.lane == of && (f.only == "" || f.only == topology) {
			d.faults = append(d.faults, f)
		}
	}
	return d
}

func (d *deck) deal() fault {
	if len(d.left) == 0 {
		d.left = append(d.left, d.faults...)
		d.rng.Shuffle(len(d.left), func(i, j int) { d.left[i], d.left[j] = d.left[j], d.left[i] })
	}
	f := d.left[0]
	d.left = d.left[1:]
	return f
}

// runLane has one fault happen after the other until until is over. ctx ends the recovery, too.
// The calm between two faults of Redis is longer than a limit's window, so that there are
// windows without an outage.
func (l *lab) runLane(ctx, until context.Context, d *deck) {
	calm, rng := time.Second, d.rng
	if d.lane == redisLane {
		calm = 2*limitWindow + time.Second
	}
	for sleep(until, calm/2+time.Duration(rng.Int64N(int64(calm/2)))) {
		f := d.deal()
		end := l.report.fault(span{what: f.name, outage: f.outage, failover: f.failover && l.redis.replicas > 0})
		hold := func(least, most time.Duration) { sleep(until, least+time.Duration(rng.Int64N(int64(most-least)))) }
		err := f.run(ctx, scene{lab: l, rng: rng, hold: hold})
		if err == nil && d.lane == redisLane {
			err = l.recover(ctx)
		}
		end()
		if ctx.Err() != nil {
			return
		}
		l.report.judge(finding{invariant: comesBack, holds: err == nil, detail: fmt.Sprint(err)}, f.name)
	}
}
