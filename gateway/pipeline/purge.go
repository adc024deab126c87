package pipeline

import (
	"context"
	"errors"
	"net/http"
	"net/netip"
	"strings"
	"time"

	"github.com/headgate/headgate/internal/httpx"
	"github.com/headgate/headgate/middleware/cache"
)

// methodPurge is how plug-ins of content management systems have a cache forget a URL. No RFC has it; Squid and Varnish
// made it common.
const methodPurge = "PURGE"

// purgeTimeout bounds how long the answer to a PURGE waits for every instance: their leases end within a second.
const purgeTimeout = 3 * time.Second

// newPurger returns what takes PURGE requests in the place of routes; nil where the policy has no purge_method, and
// PURGE is a method like others.
func (p *Pipeline) newPurger() (*Route, error) {
	if p.policy.Server.PurgeMethod == nil {
		return nil, nil
	}
	return p.limitedByDefaults(Stage{StagePurge, answerPurge, explainPurge})
}

// answerPurge is the stage that answers PURGE requests.
func answerPurge(r *Request) *Answer {
	if !r.mayPurge() {
		return refuse(http.StatusForbidden, "This client may not purge what is cached.")
	}
	purges, refused := r.asPurges()
	if refused != nil {
		return refused
	}
	return r.backends.Purge(r, purges)
}

func (r *Request) mayPurge() bool {
	in := func(addr netip.Addr) bool {
		for _, network := range r.pipeline.policy.Server.PurgeMethod.Allow {
			if network.Contains(addr) {
				return true
			}
		}
		return false
	}
	return in(r.Info.Addr) || r.Info.Addr.Is6() && r.Info.Bucket.Is4() && in(r.Info.Bucket) // an IPv4 address behind a NAT64
}

// asPurges returns what the request asks to purge: its own URL, or all that is below it where the path ends in /.* and
// there is no query. Proxy Cache Purge for WordPress and its kin send that with X-Purge-Method: regex, W3 Total Cache
// without. Other regular expressions are refused: to purge nothing would look like success.
//
// Plug-ins write http and https as they like, and a purge by URL means both. So the Host may name the port of either.
func (r *Request) asPurges() ([]cache.Purge, *Answer) {
	below, isBelow := strings.CutSuffix(r.Path.RawPath, "/.*")
	isBelow = isBelow && r.Query == ""
	switch r.Header.Get("X-Purge-Method") {
	case "":
	case "regex":
		if !isBelow || strings.ContainsAny(r.Path.Path[:len(r.Path.Path)-len("/.*")], `\^$|?*+()[]{}`) {
			return nil, refuse(http.StatusBadRequest, "Of regular expressions, a purge takes a path that ends in /.* alone.")
		}
	default:
		isBelow = false
	}
	var purges []cache.Purge
	for _, scheme := range [...]string{"http", "https"} {
		authority := httpx.Authority(r.Authority, scheme)
		if len(purges) > 0 && authority == httpx.Authority(r.Authority, "http") {
			break
		}
		var p cache.Purge
		if base := scheme + "://" + authority; isBelow {
			p.Prefix = base + below
		} else if p.URL = base + r.Path.RawPath; r.Query != "" {
			p.URL += "?" + r.Query
		}
		if err := p.Check(); err != nil {
			return nil, refuse(http.StatusBadRequest, "This is no URL that can be purged.").because(err)
		}
		purges = append(purges, p)
	}
	return purges, nil
}

// Purge returns when the purge is in force on every instance. Many plug-ins do not wait for an answer: it goes on
// without the client.
func (b liveBackends) Purge(r *Request, purges []cache.Purge) *Answer {
	ctx, cancel := context.WithTimeout(context.WithoutCancel(r), purgeTimeout)
	defer cancel()
	var errs []error
	for _, p := range purges {
		errs = append(errs, b.parts.Cache.Purge(ctx, p))
	}
	if err := errors.Join(errs...); err != nil {
		return refuse(http.StatusServiceUnavailable, "The purge is not yet known to be in force everywhere.").
			with("Retry-After", "1").because(err)
	}
	return Purged(r)
}

// Purged is the answer to a PURGE that is in force.
func Purged(r *Request) *Answer {
	return r.answered(Answer{
		Status: http.StatusNoContent, Detail: "the cache forgets the URL on every instance", form: asBare,
		Header: http.Header{"Cache-Status": {"headgate; detail=purged"}},
	})
}

func (b *peek) Purge(r *Request, _ []cache.Purge) *Answer { return Purged(r) }

// explainPurge says what would be purged.
func explainPurge(r *Request, e *Explanation) {
	purges, _ := r.asPurges()
	for i, p := range purges {
		switch {
		case i > 0:
			e.Answer += " and " + p.URL + p.Prefix
		case p.Prefix != "":
			e.Answer = "a purge of all at and below " + p.Prefix
		default:
			e.Answer = "a purge of " + p.URL
		}
	}
}
