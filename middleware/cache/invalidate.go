package cache

import (
	"context"
	"fmt"
	"log/slog"
	"net/http"
	"net/url"
	"strings"
	"time"

	"github.com/headgate/headgate/internal/httpx"
	"github.com/labstack/echo/v4"
)

// InvalidationOptions configures [CompileInvalidation] and [Cache.Invalidation].
type InvalidationOptions struct {
	// Tags are purged when an unsafe request succeeds. Nil: its URL alone is
	// invalidated.
	Tags []string
	// Scheme is MiddlewareOptions.Scheme.
	Scheme func(*http.Request) string
	// MayHold is MiddlewareOptions.MayHold.
	MayHold func(host, path string) bool
}

func nameTags(names []string) []tag {
	var tags []tag
	for _, name := range names {
		tags = append(tags, tagOf(tagName, strings.TrimSpace(name)))
	}
	return tags
}

// invalidationTimeout bounds how long the response to an unsafe request waits
// for every instance to have applied the invalidation: their leases end within a second.
const invalidationTimeout = 3 * time.Second

// invalidating runs next for an unsafe request and invalidates what it has
// changed before the first byte of its response goes out.
func (c *Cache) invalidating(ec echo.Context, r *Route, next echo.HandlerFunc, scheme string) error {
	req, res := ec.Request(), ec.Response()
	// The URL as it is now: a handler may rewrite it.
	u := *req.URL
	u.Host, u.Scheme = req.Host, scheme

	done := false
	invalidate := func() {
		if done || res.Status < 200 || res.Status >= 400 {
			return // an error changes nothing (section 4.4)
		}
		done = true
		c.Changed(context.WithoutCancel(req.Context()), r, &u, res.Header())
	}
	res.Before(func() {
		invalidate()
		status := outcomeStatus{fwd: fwdMethod}
		status.set(res.Header(), c.name)
	})
	err := next(ec)
	if err == nil && !res.Committed {
		invalidate() // net/http is going to answer 200
	}
	return err
}

// Changed invalidates what a successful unsafe request on the route makes invalid: its target, which
// has a scheme and a host, what its response's fields name, and the route's tags. It returns when that
// is in force on every instance, or three seconds later; it is repeated then until it is. The route's
// middleware calls it; others call it for requests that have no response, such as jobs.
func (c *Cache) Changed(ctx context.Context, r *Route, target *url.URL, h http.Header) {
	ctx, cancel := context.WithTimeout(ctx, invalidationTimeout)
	defer cancel()
	changed, elsewhere := c.changedBy(target, h, r.options.MayHold)
	if err := c.invalidate(ctx, append(changed, r.purge...), elsewhere); err != nil {
		c.lines.unconfirmed.Log(ctx, c.log, slog.LevelWarn, "cache: an invalidation is not confirmed yet; it will be repeated", "url", target.Path, "error", err)
	}
	c.observer.Purged("invalidation", false)
}

// changedBy gives what a successful unsafe request makes invalid: its target,
// and what Location and Content-Location name on the same origin (RFC 9111
// section 4.4), and the groups of Cache-Group-Invalidation (RFC 9875 section 3).
// elsewhere is what no route here can hold (see MiddlewareOptions.MayHold).
func (c *Cache) changedBy(target *url.URL, h http.Header, mayHold func(host, path string) bool) (changed, elsewhere []tag) {
	add := func(u *url.URL) {
		tags := urlTags(u, u.Scheme, c.keyQueries)
		if mayHold == nil || mayHold(httpx.Authority(u.Host, u.Scheme), httpx.RawPath(u)) {
			changed = append(changed, tags...)
		} else {
			elsewhere = append(elsewhere, tags...)
		}
	}
	add(target)
	for _, name := range []string{"Location", "Content-Location"} {
		reference := h.Get(name)
		if reference == "" {
			continue
		}
		u, err := target.Parse(escapeIllegal(reference))
		if err == nil && u.Scheme == target.Scheme && httpx.Authority(u.Host, u.Scheme) == httpx.Authority(target.Host, target.Scheme) {
			add(u)
		}
	}
	origin := target.Scheme + "://" + httpx.Authority(target.Host, target.Scheme)
	for _, group := range cacheGroups(h["Cache-Group-Invalidation"]) {
		changed = append(changed, tagOf(tagGroup, origin, group))
	}
	return changed, elsewhere
}

// invalidate purges what has changed, and returns when that is in force everywhere. What only instances with another
// policy can hold is purged without waiting. It is not left out: while a policy rolls out, or after it was rolled
// back, another instance may cache that URL, and entries outlive policies. To know that none does, all instances would
// have to tell each other their cached routes and wait for each other before they use new ones.
func (c *Cache) invalidate(ctx context.Context, changed, elsewhere []tag) error {
	if c.fleet == nil || len(changed) > 0 || !c.fleet.PurgeLater(elsewhere) {
		return c.purge(ctx, append(changed, elsewhere...), false)
	}
	return nil
}

// escapeIllegal escapes, in a reference's path, what must not stand there as it is. Otherwise net/url would write the
// whole path anew when it resolves the reference, and %2F would become a slash.
func escapeIllegal(reference string) string {
	end := strings.IndexAny(reference, "?#")
	if end < 0 {
		end = len(reference)
	}
	var b strings.Builder
	for i := range end {
		if c := reference[i]; c <= ' ' || c >= 0x7f || strings.IndexByte("\"<>\\^`{|}", c) >= 0 {
			fmt.Fprintf(&b, "%%%02X", c)
		} else {
			b.WriteByte(c)
		}
	}
	return b.String() + reference[end:]
}

// Purge removes, or with Soft marks as stale, what it names. It returns when
// the purge is in force on every live instance: each has acknowledged it, or
// its lease on its local tier has ended. A fetch that began before never
// brings back what was purged.
//
// An error means that this is not known yet: Redis is away, or ctx ended. The
// purge is then in force in this process, and is repeated until it is in the log.
func (c *Cache) Purge(ctx context.Context, p Purge) error {
	tags, err := p.tags(c.keyQueries)
	if err != nil {
		return err
	}
	c.observer.Purged(p.kind(), p.Soft)
	return c.purge(ctx, tags, p.Soft)
}

// PurgeTags purges several tags at once, as [Cache.Purge] does.
func (c *Cache) PurgeTags(ctx context.Context, tags ...string) error {
	c.observer.Purged("tag", false)
	return c.purge(ctx, nameTags(tags), false)
}

func (p Purge) kind() string {
	switch {
	case p.All:
		return "all"
	case p.Tag != "":
		return "tag"
	case p.Group != "":
		return "group"
	case p.Prefix != "":
		return "prefix"
	}
	return "url"
}

func (c *Cache) purge(ctx context.Context, tags []tag, soft bool) error {
	if len(tags) == 0 {
		return nil
	}
	if c.fleet == nil {
		c.purges.Purge(tags, soft)
		return nil
	}
	return c.fleet.Purge(ctx, tags, soft)
}
