//go:build linux

package main

import (
	"context"
	"fmt"
	"net/http"
	"sync"
	"time"
)

// pages is how many cached pages there are.
const pages = 5

// purges knows which versions of pages may not be served any more.
type purges struct {
	mu    sync.Mutex
	floor map[string]int
}

// confirm says that what is older than this version was purged, and that it was confirmed.
func (p *purges) confirm(path string, version int) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.floor == nil {
		p.floor = map[string]int{}
	}
	p.floor[path] = max(p.floor[path], version)
}

// oldest is the oldest version that a request may be given which is sent from now on.
func (p *purges) oldest(path string) int {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.floor[path]
}

// judgeVersion checks a page against the oldest version that might be served when it was asked for.
func judgeVersion(a answer, oldest int) (finding, bool) {
	if a.err != nil || a.page == nil {
		return finding{}, false
	}
	return finding{invariant: staysPurged, holds: a.page.Version >= oldest, detail: fmt.Sprintf("%s is of version %d; what is older than %d was purged. Cache-Status: %s; Age: %s",
		a.page.Path, a.page.Version, oldest, a.header.Get("Cache-Status"), a.header.Get("Age"))}, true
}

// read reads cached pages until ctx ends.
func (p *purges) read(ctx context.Context, c *client) {
	for pause(ctx, c.rng, 100*time.Millisecond) {
		path := fmt.Sprintf("/pages/%d", c.rng.IntN(pages))
		oldest := p.oldest(path)
		a := c.do(ctx, request{kind: "page", method: "GET", path: path, cached: true})
		if f, ok := judgeVersion(a, oldest); ok {
			c.report.judge(f, a.id)
		}
	}
}

// edit changes pages and purges them through the admin API of some gateway until ctx ends. An
// answer of 204 there confirms the purge. Now and then it edits through the balancer instead, where
// the answer says nothing of the purge: what that invalidates is not judged.
func (p *purges) edit(ctx context.Context, c *client, s *site, gateways []*gateway) {
	for pause(ctx, c.rng, 400*time.Millisecond) {
		path := fmt.Sprintf("/pages/%d", c.rng.IntN(pages))
		version := s.edit(path)
		if c.rng.IntN(4) == 0 {
			c.do(ctx, request{kind: "edit", method: "POST", path: path})
			continue
		}
		g := gateways[c.rng.IntN(len(gateways))]
		a := answer{kind: "purge", sent: time.Now(), status: http.StatusNoContent}
		if _, err := g.ask(ctx, http.MethodPost, "/purge", map[string]string{"tag": tagOf(path)}); err != nil {
			a.status = http.StatusServiceUnavailable
		} else {
			p.confirm(path, version)
		}
		if a.done = time.Now(); ctx.Err() == nil {
			c.report.count(a)
		}
	}
}

// upload sends bodies of up to 256 KiB until ctx ends.
func upload(ctx context.Context, c *client) {
	for pause(ctx, c.rng, 400*time.Millisecond) {
		body := make([]byte, 1+c.rng.IntN(256<<10))
		for i := range body {
			body[i] = byte(c.rng.Uint32())
		}
		c.do(ctx, request{kind: "upload", method: "POST", path: "/upload", body: body})
	}
}
