package policytest

import (
	"fmt"
	"maps"
	"slices"
	"strings"

	"github.com/headgate/headgate/internal/suggest"
	"github.com/headgate/headgate/middleware/proxy"
	"github.com/headgate/headgate/middleware/store"
	"github.com/headgate/headgate/policies"
)

// check reports the names that the policy does not define.
func (f *File) check(p *policies.Policy) policies.Diagnostics {
	known := map[string][]string{
		"upstream": slices.Collect(maps.Keys(p.Upstreams)),
		"limit":    slices.Collect(maps.Keys(p.Limits)),
		"client":   slices.Collect(maps.Keys(p.Clients)),
		"queue":    slices.Collect(maps.Keys(p.Queues)),
	}
	for _, r := range p.Routes {
		known["route"] = append(known["route"], r.Name)
	}
	d := newDecoder(f)
	for _, m := range f.names {
		if !slices.Contains(known[m.kind], m.name) {
			d.errorf(m.at, suggest.DidYouMean(m.name, m.kind+"s of the policy", known[m.kind]),
				"the policy has no %s %q", m.kind, short(m.name))
		}
	}
	return d.Report.Sorted()
}

// load reads the policy that the file tests. Its variables have the values
// that the file gives them, and no others: tests depend on no environment.
//
// The policy is changed to run in this process: it listens on no address, writes no log, and connects to
// no Redis. notes say how that differs from production.
func (f *File) load(path string) (_ *policies.Policy, notes []string, _ policies.Diagnostics) {
	p, found := policies.Load(path, policies.LoadOptions{LookupEnv: func(name string) (string, bool) {
		v, ok := f.Env[name]
		return v, ok
	}})
	if found.HasErrors() {
		for i := range found {
			if strings.HasPrefix(found[i].Message, "the environment variable ") {
				found[i].Mend = "give it a value under `env:` in " + f.Name
			}
		}
		return nil, nil, found
	}
	if wrong := f.check(p); wrong.HasErrors() {
		return nil, nil, wrong
	}
	if p.Redis.URL != "" {
		notes = append(notes, fmt.Sprintf("the policy's Redis (%s) is not asked: counters, sessions and cache are in memory", p.Redis.MaskedURL()))
		p.Redis = store.Options{}
	}
	p.Server.Admin.Listen = "off"
	p.Server.AccessLog.Path = policies.AccessLogOff
	p.Server.TLS = nil // a request's URL says whether it comes over TLS
	for _, u := range p.Upstreams {
		u.TLS = proxy.TLS{} // there is no connection to protect
	}
	return p, notes, nil
}
