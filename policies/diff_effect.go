package policies

import (
	"net/netip"
	"reflect"
	"slices"

	"github.com/headgate/headgate/internal/yamlnode"
	"github.com/headgate/headgate/middleware/ratelimit"
	"github.com/headgate/headgate/middleware/session"
)

// effectOf says whether a changed value lets more or less through. The options of its field say so, or its type does.
func effectOf(before, after reflect.Value, o yamlnode.Options) Effect {
	if judge := judges[before.Type()]; judge != nil {
		return judge(before, after)
	}
	switch {
	case o.Has("bound"):
		return loosensIf(after.Int() == 0 || before.Int() != 0 && after.Int() > before.Int())
	case o.Has("loosens"):
		return grows(before, after)
	case o.Has("tightens"):
		return opposite(grows(before, after))
	case o.Has("protects"):
		return loosensIf(!after.Bool())
	case o.Has("off") && after.Kind() == reflect.String && after.String() == "":
		return Removed
	case o.Has("off") && before.Kind() == reflect.String && before.String() == "":
		return Added
	}
	return Changed
}

// judges has what a change means for the types whose values are words.
var judges = map[reflect.Type]func(before, after reflect.Value) Effect{
	reflect.TypeFor[ratelimit.Count](): func(before, after reflect.Value) Effect {
		switch from, to := before.Interface().(ratelimit.Count), after.Interface().(ratelimit.Count); {
		case from.All():
			return Loosened
		case to.All():
			return Tightened
		}
		return Changed
	},
	reflect.TypeFor[ratelimit.OnRedisError](): byRank(ratelimit.Closed, ratelimit.Local, ratelimit.Open),
	reflect.TypeFor[ClientRule]():             byRank(ClientRequired, ClientOptional),
	reflect.TypeFor[EncodedSlashes]():         byRank(EncodedSlashesRefuse, EncodedSlashesKeep),
	reflect.TypeFor[session.Mode](): func(before, after reflect.Value) Effect {
		switch session.Required {
		case before.Interface().(session.Mode):
			return Loosened
		case after.Interface().(session.Mode):
			return Tightened
		}
		return Changed
	},
}

// byRank judges words that are listed from the strictest to the loosest.
func byRank[W comparable](words ...W) func(before, after reflect.Value) Effect {
	return func(before, after reflect.Value) Effect {
		return loosensIf(slices.Index(words, after.Interface().(W)) > slices.Index(words, before.Interface().(W)))
	}
}

// grows is Loosened where a number, a switch or a list became more.
func grows(before, after reflect.Value) Effect {
	switch before.Kind() {
	case reflect.Bool:
		return loosensIf(after.Bool())
	case reflect.Slice:
		if networks, ok := before.Interface().([]netip.Prefix); ok {
			return bySet(networks, after.Interface().([]netip.Prefix))
		}
		return bySet(before.Interface().([]string), after.Interface().([]string))
	}
	return loosensIf(after.Int() > before.Int())
}

func loosensIf(yes bool) Effect {
	if yes {
		return Loosened
	}
	return Tightened
}

func opposite(e Effect) Effect {
	switch e {
	case Loosened:
		return Tightened
	case Tightened:
		return Loosened
	}
	return e
}

// bySet judges a list by what is new in it and what is gone: Loosened if it only grew.
func bySet[T comparable](before, after []T) Effect {
	lost := slices.ContainsFunc(before, func(x T) bool { return !slices.Contains(after, x) })
	gained := slices.ContainsFunc(after, func(x T) bool { return !slices.Contains(before, x) })
	switch {
	case gained && !lost:
		return Loosened
	case lost && !gained:
		return Tightened
	}
	return Changed
}
