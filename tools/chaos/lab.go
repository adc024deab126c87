//go:build linux

package main

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"syscall"
)

// lab is all that runs for one topology, with its files in a folder.
type lab struct {
	dir      string
	report   *report
	redis    *topology
	site     *site
	apps     []*appServer
	gateways []*gateway
	balancer *balancer
}

const gateways, appServers = 3, 2

// newLab starts everything. binaries are the programs of the gateways. The caller closes the lab,
// also when there is an error.
func newLab(ctx context.Context, dir, redis string, binaries []string, r *report) (*lab, error) {
	l := &lab{dir: dir, report: r, site: newSite(r)}
	var err error
	if l.redis, err = launchRedis(ctx, redis); err != nil {
		return l, err
	}
	for range appServers {
		a, err := startAppServer(l.site)
		if err != nil {
			return l, err
		}
		l.apps = append(l.apps, a)
	}
	for i := range gateways {
		if err := l.addGateway(ctx, i, binaries[i]); err != nil {
			return l, err
		}
	}
	l.balancer, err = startBalancer(ctx, dir, l.gateways)
	return l, err
}

func (l *lab) addGateway(ctx context.Context, i int, binary string) error {
	g := &gateway{name: fmt.Sprintf("gateway%d", i), binary: binary, addr: freeAddr(), admin: freeAddr(), client: &http.Client{Transport: &http.Transport{DisableKeepAlives: true}}}
	l.gateways = append(l.gateways, g)
	var url string
	var err error
	if g.links, url, err = l.redis.link(fmt.Sprintf("127.0.0.%d", 2+i)); err != nil {
		return err
	}
	if err := g.write(l.dir, url, l.redis.replicas, l.apps); err != nil {
		return err
	}
	return g.start(ctx)
}

// close ends everything. With keep it leaves the logs of Redis in the folder, beside the others.
func (l *lab) close(keep bool) {
	if l.balancer != nil && l.balancer.proc != nil {
		l.balancer.proc.kill()
	}
	for _, g := range l.gateways {
		g.close()
	}
	for _, a := range l.apps {
		a.setHang(false)
		a.kill()
	}
	if l.redis == nil {
		return
	}
	for _, s := range append(l.redis.servers, l.redis.others...) {
		if keep {
			_ = os.WriteFile(filepath.Join(l.dir, "redis-"+strings.ReplaceAll(s.Addr, ":", "-")+".log"), []byte(s.Log()), 0o644)
		}
	}
	l.redis.close()
}

// recover returns when Redis is whole and each gateway that runs has all of it.
func (l *lab) recover(ctx context.Context) error {
	if err := eventually(ctx, "Redis is healthy", func() error { return l.redis.healthy(ctx) }); err != nil {
		return err
	}
	for _, g := range l.gateways {
		err := eventually(ctx, g.name+" has Redis again", func() error {
			p := g.running()
			if p == nil {
				return nil // another fault has ended it
			}
			v, err := g.vitals(ctx)
			if err == nil && !v.redis {
				err = errors.New("headgate_redis_available is 0")
			}
			return err
		})
		if err != nil {
			return err
		}
	}
	return nil
}

// restart ends a gateway by a signal and starts it again when between has returned.
func (l *lab) restart(ctx context.Context, g *gateway, s syscall.Signal, between func()) error {
	g.end(s)
	between()
	if err := g.start(ctx); err != nil {
		return err
	}
	return eventually(ctx, "HAProxy uses "+g.name, func() error { return l.balancer.uses(g) })
}
