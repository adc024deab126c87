package pipeline

import (
	"net/http"
	"strings"

	"github.com/headgate/headgate/gateway/observe"
	"github.com/headgate/headgate/policies"
)

// newUnrouted returns what takes the requests that no route fits: the limits of defaults
// hold for them as for all others, and then noRoute answers. It is nil where defaults has
// no limits. What a limit's key lacks there (route, user, session) counts by the address.
func (p *Pipeline) newUnrouted() (*Route, error) {
	if len(p.policy.Defaults.Limits) == 0 {
		return nil, nil
	}
	return p.limitedByDefaults(Stage{StageRoute, noRoute, nil})
}

// limitedByDefaults makes the way of requests that no route takes: the limits of defaults, and the stage that answers.
func (p *Pipeline) limitedByDefaults(last Stage) (*Route, error) {
	var policy policies.Route
	policy.SetDefaults()
	policy.Limits = p.policy.Defaults.Limits
	rt, err := p.newRoute(&policy)
	if err != nil {
		return nil, err
	}
	rt.stages = []Stage{{StageIdentity, identify, explainIdentity}}
	if rt.limiter != nil {
		rt.stages = append(rt.stages, Stage{StageDenyCache, remembered, nil})
	}
	rt.stages = append(rt.stages, Stage{StageAdmit, admit, explainLimits}, last)
	return rt, nil
}

// noRoute is the answer to a request that no route fits: 404, or 405 where another method
// would do.
func noRoute(r *Request) *Answer {
	if r.Match.Outcome == policies.MethodNotAllowed {
		return refuse(http.StatusMethodNotAllowed, "This path is not served with "+observe.MethodLabel(r.Method)+".").
			with("Allow", strings.Join(r.Match.Allow, ", "))
	}
	return refuse(http.StatusNotFound, "No route of this gateway fits the request.")
}
