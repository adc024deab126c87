package policies

import (
	"cmp"
	"net/netip"
	"reflect"
	"strings"

	"github.com/headgate/headgate/middleware/ratelimit"
	"github.com/headgate/headgate/middleware/session"
)

// effectOf says whether a changed value lets more or less through.
func effectOf(path string, a, b reflect.Value) Effect {
	section, rest, _ := strings.Cut(path, ".")
	switch section {
	case "limits":
		return limitEffect(rest, a, b)
	case "routes":
		return routeEffect(rest, a, b)
	}
	return Changed
}

// limitEffect judges a key of a limit; path is NAME.key, or NAME.plans.PLAN.
func limitEffect(path string, a, b reflect.Value) Effect {
	if strings.Contains(path, ".plans.") {
		return more(cmp.Compare(b.Int(), a.Int()))
	}
	switch lastKey(path) {
	case "requests", "burst":
		return more(cmp.Compare(b.Int(), a.Int()))
	case "window", "cost", "for":
		return more(cmp.Compare(a.Int(), b.Int()))
	case "after":
		return more(cmp.Compare(b.Int(), a.Int()))
	case "dry_run":
		return loosensIf(b.Bool())
	case "allow":
		return bySet(prefixes(a), prefixes(b), Loosened)
	case "count":
		from, to := a.Interface().(ratelimit.Count), b.Interface().(ratelimit.Count)
		if from.All() {
			return Loosened
		}
		if to.All() {
			return Tightened
		}
	case "on_redis_error":
		strictness := map[ratelimit.OnRedisError]int{ratelimit.Open: 0, ratelimit.Local: 1, ratelimit.Closed: 2}
		return more(cmp.Compare(strictness[ratelimit.OnRedisError(a.String())], strictness[ratelimit.OnRedisError(b.String())]))
	}
	return Changed
}

// routeEffect judges a key of a route; path is NAME.key, or further down.
func routeEffect(path string, a, b reflect.Value) Effect {
	switch lastKey(path) {
	case "limits":
		return bySet(a.Interface().([]string), b.Interface().([]string), Tightened)
	case "csrf":
		return loosensIf(!b.Bool())
	case "client":
		return loosensIf(b.String() == string(ClientOptional))
	case "max_body":
		unbounded := func(n int64) int64 { // 0 is no bound
			if n == 0 {
				return 1 << 62
			}
			return n
		}
		return more(cmp.Compare(unbounded(b.Int()), unbounded(a.Int())))
	case "session":
		if a.String() == string(session.Required) {
			return Loosened
		}
		if b.String() == string(session.Required) {
			return Tightened
		}
	case "cache":
		if b.String() == "" {
			return Removed
		}
		if a.String() == "" {
			return Added
		}
	}
	return Changed
}

func lastKey(path string) string { return path[strings.LastIndexByte(path, '.')+1:] }

// more turns a comparison into an effect: more is let through where it is positive.
func more(comparison int) Effect { return loosensIf(comparison > 0) }

func loosensIf(yes bool) Effect {
	if yes {
		return Loosened
	}
	return Tightened
}

// bySet judges a list by what is new in it and what is gone: grown says what it means if it only grew.
func bySet[T comparable](a, b []T, grown Effect) Effect {
	in := func(list []T) map[T]bool {
		m := map[T]bool{}
		for _, x := range list {
			m[x] = true
		}
		return m
	}
	old, now := in(a), in(b)
	lost, gained := false, false
	for x := range old {
		lost = lost || !now[x]
	}
	for x := range now {
		gained = gained || !old[x]
	}
	shrunk := Tightened
	if grown == Tightened {
		shrunk = Loosened
	}
	switch {
	case gained && !lost:
		return grown
	case lost && !gained:
		return shrunk
	}
	return Changed
}

func prefixes(v reflect.Value) []netip.Prefix { return v.Interface().([]netip.Prefix) }
