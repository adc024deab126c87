package policies

import (
	"cmp"
	"maps"
	"slices"

	"github.com/headgate/headgate/internal/httpx"
	"github.com/headgate/headgate/internal/suggest"
	"github.com/headgate/headgate/internal/yamlnode"
	"github.com/headgate/headgate/middleware/problem"
	"github.com/headgate/headgate/middleware/ratelimit"
	"github.com/headgate/headgate/middleware/session"
)

// checker looks for what is well-formed, but makes no sense. Each section has a file of its own.
type checker struct {
	*yamlnode.Report
	p  *Policy
	at *yamlnode.Source
}

func validate(p *Policy, s *yamlnode.Source, r *yamlnode.Report, files bool) {
	c := &checker{r, p, s}
	if p.Version != 1 {
		if !s.Has("version") {
			c.Errorf(s.At("version"), "add `version: 1`", "the policy does not say which version of the format it is")
		} else {
			c.bad("version", "write `version: 1`", "version %d is not known", p.Version)
		}
	}
	c.problems("server", p.Server.Validate())
	if c.p.Server.PurgeMethod != nil && len(c.p.Caches) == 0 {
		c.bad("server.purge_method", "add caches, or remove it", "the policy caches nothing, and there is nothing to purge")
	}
	c.problems("redis", p.Redis.Validate())
	c.upstreams()
	c.clients()
	c.memory()
	c.limits()
	c.caches()
	c.jobs()
	c.session()
	c.routes()
	if files {
		c.files()
	}
	if !c.HasErrors() { // else what looks unused may just be misspelt elsewhere
		c.unused()
	}
}

// problems reports what is wrong with the value at a path.
func (c *checker) problems(path string, ps []problem.Problem) {
	ps = slices.DeleteFunc(ps, func(p problem.Problem) bool { return p.Path == "name" }) // see names
	c.at.Problems(c.Report, path, ps)
}

// bad reports an error in the value at a path, unless there is none, as its decoding failed.
func (c *checker) bad(path, mend, format string, args ...any) {
	if !c.at.Broken(path) {
		c.Errorf(c.at.At(path), mend, format, args...)
	}
}

// warn reports that the value at a path is legal, but surely not what was wanted.
func (c *checker) warn(path, mend, format string, args ...any) {
	c.Warnf(c.at.At(path), mend, format, args...)
}

// named reports a reference to a name that nothing defines.
func named[V any](c *checker, path, name, kind string, known map[string]V) bool {
	if _, ok := known[name]; ok {
		return true
	}
	c.bad(path, suggest.DidYouMean(name, kind, slices.Collect(maps.Keys(known))), "nothing defines %s", quote(name))
	return false
}

// names reports names that could not go everywhere they have to: metrics, keys, headers.
func names[V any](c *checker, section string, m map[string]V) []string {
	sorted := sortedKeys(m)
	for _, name := range sorted {
		if !problem.IsName(name) {
			c.Errorf(c.at.KeyAt(problem.Key(section, name)), problem.MendName, "%s is not a name", quote(name))
		} else if name == "off" {
			c.Errorf(c.at.KeyAt(problem.Key(section, name)), "choose another", "a name can't be off, which switches things off")
		}
	}
	return sorted
}

// validateHeaderName adds an error where no header can have a name, and reports whether one can.
func validateHeaderName(ps *problem.List, path, name string) bool {
	if httpx.IsToken(name) {
		return true
	}
	ps.Add(path, "header names are letters, digits and -", "%s is not a header's name", quote(name))
	return false
}

// validateHeaderValue adds an error where a value would break the header block.
func validateHeaderValue(ps *problem.List, path, value string) {
	for _, b := range []byte(value) {
		if b < ' ' && b != '\t' || b == 0x7f {
			ps.Add(path, "write it in one line of printable characters", problem.This+" has a control character")
			return
		}
	}
}

// localPath reports what is not a path on this site. //host and /\host are another's.
func (c *checker) localPath(path, value string) bool {
	var ps problem.List
	ok := problem.LocalPath(&ps, path, value)
	c.problems("", ps)
	return ok
}

// validatePlaceholdersAt reports what is no placeholder in the value at a path, or none for this place.
func validatePlaceholdersAt(c *checker, path, text string, not ...string) {
	var ps problem.List
	validatePlaceholders(&ps, path, text, not...)
	c.problems("", ps)
}

// unused warns of definitions that nothing refers to.
func (c *checker) unused() {
	upstreams, limits, caches, groups := map[string]bool{}, map[string]bool{}, map[string]bool{}, map[string]bool{}
	for _, s := range c.p.Schedules {
		upstreams[s.Upstream] = true
	}
	withSession := map[string]bool{} // limits on routes that know who is logged in
	logins := slices.ContainsFunc(c.p.Routes, func(r *Route) bool { return r.Session == session.Login })
	for _, r := range c.p.Routes {
		upstreams[r.Upstream], caches[r.Cache], groups[r.Group] = true, true, true
		for _, l := range r.Limits {
			limits[l] = true
			withSession[l] = withSession[l] || r.Session != session.Off
		}
	}
	warnUnused(c, "upstreams", c.p.Upstreams, upstreams)
	warnUnused(c, "limits", c.p.Limits, limits)
	warnUnused(c, "caches", c.p.Caches, caches)
	warnUnused(c, "groups", c.p.Groups, groups)
	for name, l := range c.p.Limits {
		if limits[name] && !withSession[name] && slices.ContainsFunc(l.Key, ratelimit.KeyPart.NeedsSession) {
			c.warn(problem.Key("limits", name, "key"), "write session: optional or required on a route that uses it, or key: ip",
				"the limit counts by IP, as no route that uses it has sessions")
		}
		if limits[name] && !logins && l.ByAccount() {
			c.warn(problem.Key("limits", name, "key"), "write session: login on the route that logs users in, and have the app answer Headgate-Login there",
				"guesses lock an account's user out, as no browser becomes known to it without a login route")
		}
	}
}

func warnUnused[V any](c *checker, section string, defined map[string]V, used map[string]bool) {
	for name := range defined {
		if !used[name] {
			c.Warnf(c.at.KeyAt(problem.Key(section, name)), "name it in a route, or remove it", "no route uses %s of %s", quote(name), section)
		}
	}
}

func sortedKeys[K cmp.Ordered, V any](m map[K]V) []K { return slices.Sorted(maps.Keys(m)) }
