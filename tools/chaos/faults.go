//go:build linux

package main

import (
	"context"
	"fmt"
	"math/rand/v2"
	"os"
	"syscall"
	"time"

	"github.com/headgate/headgate/internal/redistest"
)

// lane is where faults happen. In each lane one fault follows the other; the lanes go on at once.
type lane string

const (
	gatewayLane lane = "gateway"
	redisLane   lane = "redis"
	appLane     lane = "app"
)

// scene is what a fault may act on. hold waits for as long as the fault is to last.
type scene struct {
	*lab
	rng  *rand.Rand
	hold func(least, most time.Duration)
}

// fault is something that goes wrong. run begins it, holds it and ends it, also when the suite ends
// meanwhile; ctx bounds the recovery alone.
type fault struct {
	name             string
	lane             lane
	outage, failover bool   // of Redis, see span
	only             string // a topology; "": all
	run              func(ctx context.Context, s scene) error
}

var faults = []fault{
	{name: "gateway: kill -9", lane: gatewayLane, run: killGateway},
	{name: "gateway: kill -9 while it holds leases, sessions and reservations", lane: gatewayLane, run: killBusyGateway},
	{name: "gateway: SIGSTOP", lane: gatewayLane, run: pauseGateway},
	{name: "gateway: SIGHUP with a changed policy", lane: gatewayLane, run: reloadGateway},
	{name: "gateway: SIGTERM", lane: gatewayLane, run: drainGateway},
	{name: "redis: SIGSTOP", lane: redisLane, outage: true, failover: true, run: pauseRedis},
	{name: "redis: kill -9, restart with its AOF", lane: redisLane, outage: true, failover: true, run: killRedis},
	{name: "redis: SCRIPT FLUSH", lane: redisLane, run: flushScripts},
	{name: "network: replies delayed", lane: redisLane, outage: true, run: onLinks(func(s scene, p *redistest.Proxy) {
		p.Delay(time.Duration(50+s.rng.IntN(600)) * time.Millisecond)
	})},
	{name: "network: connections cut", lane: redisLane, outage: true, run: onLinks(func(s scene, p *redistest.Proxy) { p.Cut() })},
	{name: "network: connections cut in the middle of replies", lane: redisLane, outage: true, run: onLinks(func(s scene, p *redistest.Proxy) { p.CutAfter(1 + s.rng.IntN(2000)) })},
	{name: "network: replies stall in the middle", lane: redisLane, outage: true, run: onLinks(func(s scene, p *redistest.Proxy) { p.StallAfter(1 + s.rng.IntN(2000)) })},
	{name: "network: replies corrupted", lane: redisLane, outage: true, run: onLinks(func(s scene, p *redistest.Proxy) { p.Corrupt() })},
	{name: "network: one gateway cut off from Redis", lane: redisLane, outage: true, run: partition((*redistest.Proxy).Cut)},
	{name: "network: all that one gateway and Redis send is lost", lane: redisLane, outage: true, run: partition((*redistest.Proxy).Swallow)},
	{name: "redis: failover by Sentinels", lane: redisLane, outage: true, failover: true, only: "sentinel", run: failover},
	{name: "redis: a node of the Cluster is lost", lane: redisLane, outage: true, only: "cluster", run: loseNode},
	{name: "redis: slots of the Cluster move", lane: redisLane, outage: true, only: "cluster", run: moveSlots},
	{name: "app server: killed", lane: appLane, run: killApp},
	{name: "app server: hangs", lane: appLane, run: hangApp},
	{name: "app server: cuts answers short", lane: appLane, run: cutApp},
}

// killable is a gateway that may be ended. The last one never is, so that what it leaks adds up.
func (s scene) killable() *gateway { return s.gateways[s.rng.IntN(len(s.gateways)-1)] }

func (s scene) anyGateway() *gateway { return s.gateways[s.rng.IntN(len(s.gateways))] }

func (s scene) anyServer() *redistest.Server {
	return s.redis.servers[s.rng.IntN(len(s.redis.servers))]
}

func killGateway(ctx context.Context, s scene) error {
	return s.restart(ctx, s.killable(), syscall.SIGKILL, func() { s.hold(0, 2*time.Second) })
}

// killBusyGateway has all app servers hang first, so that the gateway dies with requests under way.
func killBusyGateway(ctx context.Context, s scene) error {
	for _, a := range s.apps {
		a.setHang(true)
	}
	s.hold(300*time.Millisecond, 800*time.Millisecond)
	return s.restart(ctx, s.killable(), syscall.SIGKILL, func() {
		for _, a := range s.apps {
			a.setHang(false)
		}
		s.hold(0, 2*time.Second)
	})
}

func pauseGateway(ctx context.Context, s scene) error {
	g := s.anyGateway()
	p := g.running()
	p.signal(syscall.SIGSTOP)
	s.hold(200*time.Millisecond, 4*time.Second)
	p.signal(syscall.SIGCONT)
	return eventually(ctx, "HAProxy uses "+g.name, func() error { return s.balancer.uses(g) })
}

// reloadGateway adds a route to the policy of one gateway.
func reloadGateway(ctx context.Context, s scene) error {
	g := s.anyGateway()
	f, err := os.OpenFile(g.policy, os.O_APPEND|os.O_WRONLY, 0)
	if err != nil {
		return err
	}
	name := fmt.Sprintf("added%d", s.rng.Uint32())
	_, err = fmt.Fprintf(f, "  - {name: %s, path: /%s}\n", name, name)
	if err := f.Close(); err != nil {
		return err
	}
	g.running().signal(syscall.SIGHUP)
	s.hold(100*time.Millisecond, time.Second)
	return err
}

func drainGateway(ctx context.Context, s scene) error {
	return s.restart(ctx, s.killable(), syscall.SIGTERM, func() { s.hold(0, time.Second) })
}

func pauseRedis(_ context.Context, s scene) error {
	server := s.anyServer()
	server.Pause()
	s.hold(50*time.Millisecond, 3*time.Second)
	server.Resume()
	return nil
}

func killRedis(_ context.Context, s scene) error {
	server := s.anyServer()
	server.Kill()
	s.hold(0, 2*time.Second)
	server.Restart()
	return nil
}

func flushScripts(ctx context.Context, s scene) error {
	for _, server := range s.redis.servers {
		if err := server.Client.ScriptFlush(ctx).Err(); err != nil {
			return err
		}
	}
	return nil
}

// onLinks does something to the connections between all gateways and Redis.
func onLinks(do func(scene, *redistest.Proxy)) func(context.Context, scene) error {
	return func(_ context.Context, s scene) error {
		for _, g := range s.gateways {
			for _, p := range g.links {
				do(s, p)
			}
		}
		s.hold(300*time.Millisecond, 3*time.Second)
		for _, g := range s.gateways {
			for _, p := range g.links {
				p.Heal()
			}
		}
		return nil
	}
}

// partition does something to the connections of one gateway alone: to all of them, or to those to
// one server of several.
func partition(do func(*redistest.Proxy)) func(context.Context, scene) error {
	return func(_ context.Context, s scene) error {
		g := s.anyGateway()
		links := g.links
		if i := s.rng.IntN(2 * len(links)); i < len(links) {
			links = links[i : i+1]
		}
		for _, p := range links {
			do(p)
		}
		s.hold(300*time.Millisecond, 4*time.Second)
		for _, p := range links {
			p.Heal()
		}
		return nil
	}
}

// failover kills the master until its replica has taken its place.
func failover(ctx context.Context, s scene) error {
	master := s.redis.servers[0]
	for _, server := range s.redis.servers {
		if role, _ := server.Client.Do(ctx, "ROLE").Slice(); len(role) > 0 && role[0] == "master" {
			master = server
		}
	}
	master.Kill()
	err := eventually(ctx, "the Sentinels name another master", func() error {
		at, err := s.redis.others[0].Client.Do(ctx, "SENTINEL", "GET-MASTER-ADDR-BY-NAME", "headgate").StringSlice()
		if err == nil && len(at) == 2 && at[0]+":"+at[1] == master.Addr {
			err = fmt.Errorf("it is still %v", at)
		}
		return err
	})
	s.hold(0, time.Second)
	master.Restart()
	return err
}

// loseNode kills a node for longer than the others need to notice: they refuse all commands then.
func loseNode(_ context.Context, s scene) error {
	server := s.anyServer()
	server.Kill()
	s.hold(6*time.Second, 9*time.Second)
	server.Restart()
	return nil
}

func moveSlots(ctx context.Context, s scene) error {
	moved, err := s.redis.reshard(ctx, s.rng.IntN(gateways))
	s.report.note("%d slots with keys were moved under load", moved)
	return err
}

func (s scene) anyApp() *appServer { return s.apps[s.rng.IntN(len(s.apps))] }

func killApp(_ context.Context, s scene) error {
	a := s.anyApp()
	a.kill()
	s.hold(200*time.Millisecond, 2*time.Second)
	return a.start()
}

func hangApp(_ context.Context, s scene) error {
	a := s.anyApp()
	a.setHang(true)
	s.hold(200*time.Millisecond, 5*time.Second)
	a.setHang(false)
	return nil
}

func cutApp(_ context.Context, s scene) error {
	a := s.anyApp()
	a.setCut(true)
	s.hold(500*time.Millisecond, 3*time.Second)
	a.setCut(false)
	return nil
}
