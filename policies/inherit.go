package policies

import "reflect"

// inherit gives every route the settings that it does not say itself: its group's, else those of
// defaults. Limits add up instead, until one level says off.
func inherit(p *Policy, s *source) {
	keys := structKeys(reflect.TypeFor[Settings]())
	written := map[string][]string{} // by level: what it says, but for limits
	for _, from := range append(groupPaths(p), "defaults") {
		for _, key := range keys.names {
			if key != "limits" && s.has(join(from, key)) {
				written[from] = append(written[from], key)
			}
		}
	}
	for i, r := range p.Routes {
		own := item("routes", i)
		var limits Names
		for _, from := range settingsOf(p, r, own) {
			if from.settings.Limits != nil && len(from.settings.Limits) == 0 {
				limits = nil
			}
			limits = appendNew(limits, from.settings.Limits)
			for _, key := range written[from.path] {
				if !s.has(join(own, key)) {
					f := keys.fields[key].index
					reflect.ValueOf(&r.Settings).Elem().FieldByIndex(f).Set(reflect.ValueOf(from.settings).Elem().FieldByIndex(f))
				}
			}
		}
		r.ownLimits, r.Limits = r.Limits, limits
		if r.Redirect != nil || r.Respond != nil { // what is inherited is for routes that have an upstream
			if !s.has(join(own, "upstream")) {
				r.Upstream = ""
			}
			if !s.has(join(own, "cache")) {
				r.Cache = ""
			}
		}
	}
}

func groupPaths(p *Policy) []string {
	var paths []string
	for _, name := range sortedKeys(p.Groups) {
		paths = append(paths, join("groups", name))
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
		levels = append(levels, level{join("groups", r.Group), group})
	}
	return append(levels, level{own, &r.Settings})
}

// saysSetting reports whether a route, its group or the defaults have the key.
func saysSetting(p *Policy, s *source, route int, key string) bool {
	for _, from := range settingsOf(p, p.Routes[route], item("routes", route)) {
		if s.has(join(from.path, key)) {
			return true
		}
	}
	return false
}

func appendNew(names, more Names) Names {
	for _, name := range more {
		if !contains(names, name) {
			names = append(names, name)
		}
	}
	return names
}
