package policies

import (
	"reflect"
	"slices"

	"github.com/headgate/headgate/internal/yamlnode"
	"github.com/headgate/headgate/middleware/problem"
)

// inherit gives every route the settings that it does not say itself: its group's, else those of
// defaults. Limits add up instead, until one level says off.
func inherit(p *Policy, s *yamlnode.Source) {
	keys := yamlnode.Fields(reflect.TypeFor[Settings]())
	written := map[string][]yamlnode.Field{} // by level: what it says, but for limits
	for _, from := range append(groupPaths(p), "defaults") {
		for _, key := range keys {
			if key.Name != "limits" && s.Has(problem.Key(from, key.Name)) {
				written[from] = append(written[from], key)
			}
		}
	}
	for i, r := range p.Routes {
		own := problem.Item("routes", i)
		var limits []string
		for _, from := range settingsOf(p, r, own) {
			if from.settings.Limits != nil && len(from.settings.Limits) == 0 {
				limits = nil
			}
			limits = appendNew(limits, from.settings.Limits)
			for _, key := range written[from.path] {
				if !s.Has(problem.Key(own, key.Name)) {
					reflect.ValueOf(&r.Settings).Elem().FieldByIndex(key.Index).Set(reflect.ValueOf(from.settings).Elem().FieldByIndex(key.Index))
				}
			}
		}
		r.ownLimits, r.Limits = r.Limits, limits
		if r.Redirect != nil || r.Respond != nil { // what is inherited is for routes that have an upstream
			if !s.Has(problem.Key(own, "upstream")) {
				r.Upstream = ""
			}
			if !s.Has(problem.Key(own, "cache")) {
				r.Cache = ""
			}
			if !s.Has(problem.Key(own, "queue")) {
				r.Queue.Name = ""
			}
		}
	}
}

func groupPaths(p *Policy) []string {
	var paths []string
	for _, name := range sortedKeys(p.Groups) {
		paths = append(paths, problem.Key("groups", name))
	}
	return paths
}

// level is a place that settings come from.
type level struct {
	path     string
	settings *Settings
}

// settingsOf lists where a route's settings come from, the weakest first.
func settingsOf(p *Policy, r *Route, own string) []level {
	levels := []level{{"defaults", &p.Defaults}}
	if group := p.Groups[r.Group]; group != nil {
		levels = append(levels, level{problem.Key("groups", r.Group), group})
	}
	return append(levels, level{own, &r.Settings})
}

// saysSetting reports whether a route, its group or the defaults have the key.
func saysSetting(p *Policy, s *yamlnode.Source, route int, key string) bool {
	for _, from := range settingsOf(p, p.Routes[route], problem.Item("routes", route)) {
		if s.Has(problem.Key(from.path, key)) {
			return true
		}
	}
	return false
}

func appendNew(names, more []string) []string {
	for _, name := range more {
		if !slices.Contains(names, name) {
			names = append(names, name)
		}
	}
	return names
}
