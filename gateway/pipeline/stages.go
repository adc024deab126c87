package pipeline

import "github.com/headgate/headgate/policies"

// Stage is one step of a request's way. There is no other description of what happens
// to a request: serve runs the stages on live backends, explain on backends that look
// without consuming, `headgate test` under a fake clock, replay on what a log knows.
type Stage struct {
	// Name is what documentation calls the stage.
	Name string
	// Run notes in the Request what the stage finds. It returns nil to pass the
	// request on to the next stage, or the answer that ends its way.
	Run func(*Request) *Answer
	// Explain adds what there is to say about the stage. It runs behind Run, also for
	// stages behind the one that has answered. Nil adds nothing.
	Explain func(*Request, *Explanation)
}

// The names of the stages.
const (
	StageDenied      = "denied network"
	StageNormalise   = "normalise"
	StageRoute       = "route"
	StageIdentity    = "identity"
	StageCORS        = "cors"
	StageMaintenance = "maintenance"
	StageDenyCache   = "deny cache"
	StageAdmit       = "admit"
	StageAuthorize   = "authorize"
	StageBody        = "body"
	StageQueue       = "queue"
	StageJobs        = "jobs"
	StageCompress    = "compress"
	StageAnswer      = "answer"
	StagePurge       = "purge" // in the place of a route's stages, see newPurger
)

// everyRequest lists the stages that come before a route is known.
func (p *Pipeline) everyRequest() []Stage {
	var stages []Stage
	if p.denies() {
		stages = append(stages, Stage{StageDenied, refuseNetwork, explainNetwork}) // 403, on every path
	}
	return append(stages,
		Stage{StageNormalise, normalise, explainTarget},
		Stage{StageRoute, findRoute, explainRoute},
	)
}

// stagesOf lists the stages of a route, in the order in which its requests meet them.
// A stage that has nothing to do on the route is left out.
//
// On the way back, response.go has the order of what happens to the answer.
func stagesOf(rt *Route) []Stage {
	p := rt.Policy
	stages := []Stage{
		{StageIdentity, identify, explainIdentity}, // whose API key the request carries, which is cut from it
	}
	if p.CORS != nil {
		stages = append(stages, Stage{StageCORS, preflight, nil}) // 204; no limit counts it, no session is asked
	}
	if p.Maintenance != nil {
		stages = append(stages, Stage{StageMaintenance, rt.maintenance.answer, nil}) // 503, but for the networks let through
	}
	if rt.limiter != nil {
		stages = append(stages, Stage{StageDenyCache, remembered, nil}) // 429 at no cost to Redis
	}
	stages = append(stages,
		Stage{StageAdmit, admit, explainLimits},          // session and limits, in one round trip to Redis: 429
		Stage{StageAuthorize, authorize, explainSession}, // what the route asks of session and API key: 303, 401, 403
		Stage{StageBody, boundBody, nil},                 // 413
	)
	if p.Queue.Name != "" {
		stages = append(stages, Stage{StageQueue, enqueue, explainQueue}) // 202, for what becomes a job
	}
	if rt.compress != nil {
		stages = append(stages, Stage{StageCompress, compressAnswer, explainCompress}) // what is written from here on
	}
	return append(stages, Stage{StageAnswer, answerOf(p), answerExplainer(p)}) // cache and app server, or the policy's own answer
}

// Run takes a request through the stages until one of them answers it. Nil means that
// the cache or an app server has.
func (p *Pipeline) Run(r *Request) *Answer {
	for i := range p.every {
		r.Stage = p.every[i].Name
		if a := p.every[i].Run(r); a != nil {
			return a
		}
	}
	for i := range r.Route.stages {
		r.Stage = r.Route.stages[i].Name
		if a := r.Route.stages[i].Run(r); a != nil {
			return a
		}
	}
	return nil
}

// answerOf returns the last stage of a route.
func answerOf(p *policies.Route) func(*Request) *Answer {
	switch {
	case p.Redirect != nil:
		return redirect
	case p.Respond != nil:
		return respond
	}
	return forward
}
