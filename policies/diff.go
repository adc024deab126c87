package policies

import (
	"fmt"
	"net/netip"
	"reflect"
	"slices"
	"strings"
	"time"

	"github.com/headgate/headgate/internal/yamlnode"
	"github.com/headgate/headgate/middleware/problem"
	"github.com/headgate/headgate/middleware/proxy"
)

// Effect says what a change does to clients.
type Effect string

// The effects of a change.
const (
	Added     Effect = "added"
	Removed   Effect = "removed"
	Loosened  Effect = "loosened"  // more is let through
	Tightened Effect = "tightened" // less is let through
	Changed   Effect = "changed"
)

// Change is one difference in meaning between two policies.
type Change struct {
	Path     string // like limits.per-ip.requests, or routes.login.limits
	Effect   Effect
	Old, New string // as a policy would say it; "" where it is added or removed, masked where it is a secret
}

func (c Change) String() string {
	switch {
	case c.Effect == Added || c.Effect == Removed:
		return c.Path + " " + string(c.Effect)
	case c.Old == c.New: // secrets
		return c.Path + " changed"
	}
	return fmt.Sprintf("%s %s: %s -> %s", c.Path, c.Effect, orNone(c.Old), orNone(c.New))
}

func orNone(s string) string {
	if s == "" {
		return "none"
	}
	return s
}

// Diff lists what changes for clients and app servers from one loaded policy to another, in the order of the
// file's sections. Routes are compared by name, with what they inherit, so that moving a setting
// into defaults or a group, reordering keys, or renaming an anchor changes nothing.
func Diff(before, after *Policy) []Change {
	d := &differ{}
	a, b := reflect.ValueOf(before).Elem(), reflect.ValueOf(after).Elem()
	for _, f := range yamlnode.Fields(a.Type()) {
		switch f.Name {
		case "server", "redis", "upstreams", "clients", "limits", "caches", "queues", "jobs", "schedules", "session":
			d.values(f.Name, a.FieldByIndex(f.Index), b.FieldByIndex(f.Index), f.Options)
		}
	}
	d.routes(before, after)
	return d.changes
}

type differ struct{ changes []Change }

func (d *differ) add(path string, effect Effect, before, after string) {
	d.changes = append(d.changes, Change{path, effect, before, after})
}

// routes compares routes by name. What a route takes over from its upstream or the server is compared there.
func (d *differ) routes(before, after *Policy) {
	old := map[string]*Route{}
	for _, r := range before.Routes {
		old[r.Name] = r
	}
	kept := map[string]bool{}
	for _, r := range after.Routes {
		path := problem.Key("routes", r.Name)
		o := old[r.Name]
		if o == nil {
			d.add(path, Added, "", "")
			continue
		}
		kept[r.Name] = true
		a, b := *o, *r
		a.Group, b.Group = "", ""
		if a.Timeout == upstreamTimeout(before, o) && b.Timeout == upstreamTimeout(after, r) {
			a.Timeout, b.Timeout = 0, 0
		}
		if a.MaxBody == before.Server.MaxBody && b.MaxBody == after.Server.MaxBody {
			a.MaxBody, b.MaxBody = 0, 0
		}
		if a.IgnoreCase == before.Server.IgnoreCase && b.IgnoreCase == after.Server.IgnoreCase {
			a.IgnoreCase, b.IgnoreCase = false, false
		}
		d.values(path, reflect.ValueOf(a), reflect.ValueOf(b), yamlnode.Options{})
	}
	for _, r := range before.Routes {
		if !kept[r.Name] {
			d.add(problem.Key("routes", r.Name), Removed, "", "")
		}
	}
	d.order(before, after)
}

func upstreamTimeout(p *Policy, r *Route) time.Duration {
	if u := p.Upstreams[r.Upstream]; u != nil {
		return u.Timeout
	}
	return 0
}

// order reports routes that changed places where that decides which of them takes a request: where they compete
// for the same spot and are equally specific.
func (d *differ) order(before, after *Policy) {
	position := map[string]int{}
	for i, r := range before.Routes {
		position[r.Name] = i
	}
	first := map[spot][]claim{} // of the claims that overlap, the first
	for i, r := range after.Routes {
		if _, known := position[r.Name]; !known {
			continue
		}
		for _, own := range claimsOf(i, r) {
			at := slices.IndexFunc(first[own.spot], own.overlaps)
			if at < 0 {
				first[own.spot] = append(first[own.spot], own)
				continue
			}
			if f := after.Routes[first[own.spot][at].route]; position[f.Name] > position[r.Name] && f.Match.count() == r.Match.count() {
				d.add(problem.Key("routes", f.Name), Changed, "after "+r.Name, "before "+r.Name)
				break
			}
		}
	}
}

// values compares two values of one type, down to what a policy writes as one. Options are those of their field.
func (d *differ) values(path string, a, b reflect.Value, o yamlnode.Options) {
	switch {
	case a.Kind() == reflect.Pointer:
		switch {
		case a.IsNil() && b.IsNil():
		case a.IsNil() || b.IsNil():
			d.presence(path, b.IsNil(), o)
		default:
			d.values(path, a.Elem(), b.Elem(), o)
		}
	case o.Has("optional") && yamlnode.IsOff(a) != yamlnode.IsOff(b):
		d.presence(path, yamlnode.IsOff(b), o)
	case a.Type() != reflect.TypeFor[netip.Prefix]() && yamlnode.Section(a.Type()):
		for _, f := range yamlnode.Fields(a.Type()) {
			if !strings.HasSuffix(f.Name, "_file") {
				d.values(problem.Key(path, f.Name), a.FieldByIndex(f.Index), b.FieldByIndex(f.Index), f.Options)
			}
		}
	case a.Kind() == reflect.Map:
		d.maps(path, a, b, o)
	case a.Kind() == reflect.Slice && a.Type().Elem() == reflect.TypeFor[proxy.Server]():
		d.maps(path, serversByURL(a), serversByURL(b), o)
	default:
		if before, after := yamlnode.Text(a, o), yamlnode.Text(b, o); before != after || before != "" && !reflect.DeepEqual(a.Interface(), b.Interface()) {
			d.add(path, effectOf(a, b, o), before, after)
		}
	}
}

// presence reports a section that is switched on or off.
func (d *differ) presence(path string, removed bool, o yamlnode.Options) {
	effect := Added
	if removed {
		effect = Removed
	}
	if protects := o.Has("protects"); protects && removed {
		effect = Loosened
	} else if protects {
		effect = Tightened
	}
	words := map[bool]string{true: "off", false: "on"}
	d.add(path, effect, words[!removed], words[removed])
}

// maps compares by key.
func (d *differ) maps(path string, a, b reflect.Value, o yamlnode.Options) {
	texts := map[string]reflect.Value{}
	for _, m := range []reflect.Value{a, b} {
		for _, key := range m.MapKeys() {
			texts[fmt.Sprint(key)] = key
		}
	}
	for _, name := range sortedKeys(texts) {
		before, after := a.MapIndex(texts[name]), b.MapIndex(texts[name])
		switch {
		case !before.IsValid():
			d.add(problem.Key(path, name), Added, "", "")
		case !after.IsValid():
			d.add(problem.Key(path, name), Removed, "", "")
		default:
			d.values(problem.Key(path, name), before, after, o)
		}
	}
}

func serversByURL(list reflect.Value) reflect.Value {
	m := map[string]proxy.Server{}
	for _, s := range list.Interface().([]proxy.Server) {
		m[s.URL] = s
	}
	return reflect.ValueOf(m)
}
