package policies

import (
	"slices"
	"strings"

	"github.com/headgate/headgate/internal/httpx"
	"github.com/headgate/headgate/middleware/problem"
	"github.com/headgate/headgate/middleware/session"
)

// Jobs is where clients ask for their jobs, how apps enqueue, and whether this instance works.
type Jobs struct {
	// Below this path clients ask for jobs: /.jobs/ID, on every host that some route names, before any route. No route may be below it.
	// Default "/.jobs".
	Path string `yaml:"path"`
	// Bearer token with which apps enqueue, by POST /jobs/QUEUE on listen and on the admin listener. It opens nothing else of the admin
	// API. Default: none; on the admin listener its own token enqueues, too.
	Token string `yaml:"token" config:"secret" want:"a secret"`
	// A file that holds the token, instead of token.
	TokenFile string `yaml:"token_file" config:"path" want:"a path"`
	// Whether this instance does jobs and runs schedules: on, or off for one that only takes them. headgate work does them in any case. Default on.
	Work bool `yaml:"work" config:"switch"`
	// Address of a listener for apps that enqueue, which has POST /jobs/QUEUE and nothing else. Off loopback token is required. Default: none.
	Listen string `yaml:"listen"`
}

// QueueWhen says which requests of a route become jobs.
type QueueWhen string

// The values of QueueWhen.
const (
	QueueAlways QueueWhen = "always"
	QueueAsked  QueueWhen = "asked"
)

// Values lists the words.
func (QueueWhen) Values() []string { return list(QueueAlways, QueueAsked) }

// RouteQueue is the queue of a route.
type RouteQueue struct {
	// The queue by name. Required.
	Name string `yaml:"name" config:"self" required:"name one of queues"`
	// Which requests become jobs: always, all but HEAD, OPTIONS and upgrades to WebSocket; or asked, those of them with
	// Prefer: respond-async (RFC 7240). The others are forwarded. Default always.
	When QueueWhen `yaml:"when"`
}

// SetDefaults fills in what the file may leave out.
func (q *RouteQueue) SetDefaults() { *q = RouteQueue{When: QueueAlways} }

// SetDefaults fills in what the file may leave out.
func (j *Jobs) SetDefaults() { *j = Jobs{Path: "/.jobs", Work: true} }

// Validate says what is wrong with it.
func (j *Jobs) Validate() []problem.Problem {
	var ps problem.List
	normal, err := httpx.NormalizePath(j.Path)
	switch {
	case err != nil || j.Path == "" || normal.RawPath != j.Path || strings.ContainsAny(j.Path, "?#*:;%"):
		ps.Add("path", "write it like /.jobs", "%s is not a path below which requests can be", quote(j.Path))
	case j.Path == "/":
		ps.Add("path", "write it like /.jobs", "every path is below /, and no route would get a request")
	case strings.HasSuffix(j.Path, "/"):
		ps.Add("path", "write "+quote(strings.TrimSuffix(j.Path, "/")), "%s ends in a slash", quote(j.Path))
	}
	if j.Listen != "" && validateAddress(&ps, "listen", j.Listen) && !isLoopback(j.Listen) {
		if j.Token == "" {
			ps.Add("listen", "set jobs.token, or listen on 127.0.0.1", "anyone could enqueue there, as it is off loopback and there is no token")
		} else {
			ps.Warn("listen", "listen on 127.0.0.1, or keep others away from it by a firewall",
				"the listener is off loopback, and jobs.token crosses the network in clear text")
		}
	}
	return ps
}

// jobs checks queues, schedules, and what both need of the rest.
func (c *checker) jobs() {
	for _, name := range names(c, "queues", c.p.Queues) {
		c.problems(problem.Key("queues", name), c.p.Queues[name].Validate())
	}
	for _, name := range names(c, "schedules", c.p.Schedules) {
		s, path := c.p.Schedules[name], problem.Key("schedules", name)
		c.problems(path, s.Validate())
		if s.Queue != "" {
			named(c, problem.Key(path, "queue"), s.Queue, "queues", c.p.Queues)
		}
		if s.Upstream != "" {
			named(c, problem.Key(path, "upstream"), s.Upstream, "upstreams", c.p.Upstreams)
		}
	}
	c.problems("jobs", c.p.Jobs.Validate())
	listen := c.p.Jobs.Listen
	if listen == "" || strings.HasSuffix(listen, ":0") {
		return
	}
	if slices.Contains(c.p.Server.Listen, listen) || listen == c.p.Server.Admin.Listen {
		c.bad("jobs.listen", "give it a port of its own", "%s is listened on already", quote(listen))
	}
}

// reserved reports a path of a route below which requests never reach it, as the gateway answers there.
func (c *checker) reserved(at string, p pattern) {
	if len(c.p.Queues) == 0 || !p.below(c.p.Jobs.Path) {
		return
	}
	c.bad(at, "choose another path, or another jobs.path", "no request reaches the route at %s: below %s clients ask for their jobs", quote(p.text), quote(c.p.Jobs.Path))
}

// queue checks the queue of a route.
func (c *checker) queue(r *Route, path string) {
	if r.Queue.Name == "" {
		return
	}
	at := problem.Key(path, "queue")
	if !c.at.Has(at) {
		at = path // its group has it, or defaults
	}
	switch {
	case r.Upstream == "":
		c.bad(at, "remove it", "the gateway itself answers on this route, so there is no job to do")
	case r.Cache != "" && r.Queue.When == QueueAlways:
		c.bad(at, "keep one of them, or write queue: {name: "+r.Queue.Name+", when: asked}", "the route has both a queue and a cache, and what becomes a job is never answered from the cache")
	case r.Session == session.Login:
		c.bad(at, "remove it from the login route", "a job can't log a user in: the client has its answer before the app has")
	case r.Session == session.Logout:
		c.bad(at, "remove it from the logout route", "a logout is not put off")
	case len(r.Methods) > 0 && !slices.ContainsFunc(r.Methods, func(m string) bool { return m != "HEAD" && m != "OPTIONS" }):
		c.bad(at, "remove it, or add methods", "the route takes HEAD and OPTIONS alone, which never become jobs")
	}
}
