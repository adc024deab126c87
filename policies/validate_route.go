package policies

import (
	"fmt"
	"net/http"
	"net/textproto"
	"net/url"
	"slices"
	"strings"
	"unicode/utf8"

	"github.com/headgate/headgate/internal/httpx"
	"github.com/headgate/headgate/internal/suggest"
	"github.com/headgate/headgate/middleware/problem"
	"github.com/headgate/headgate/middleware/ratelimit"
	"github.com/headgate/headgate/middleware/session"
)

func (c *checker) routes() {
	if len(c.p.Routes) == 0 && !c.at.Broken("routes") {
		c.Errorf(c.at.KeyAt("routes"), "add one: - {path: /*, upstream: NAME}", "the policy has no routes")
	}
	c.settings("defaults", &c.p.Defaults, c.p.Defaults.Limits)
	c.manyLimits("defaults.limits", c.p.Defaults.Limits) // they hold where no route fits, too
	for _, name := range names(c, "groups", c.p.Groups) {
		c.settings(problem.Key("groups", name), c.p.Groups[name], c.p.Groups[name].Limits)
	}
	first := map[string]int{}
	for i, r := range c.p.Routes {
		path := problem.Item("routes", i)
		if c.at.Has(problem.Key(path, "name")) {
			if !problem.IsName(r.Name) {
				c.bad(problem.Key(path, "name"), problem.MendName, "%s is not a name", quote(r.Name))
			}
			if j, dup := first[r.Name]; dup {
				c.bad(problem.Key(path, "name"), "give each route a name of its own", "the route %s is defined twice, first at %s",
					quote(r.Name), c.at.At(problem.Key(problem.Item("routes", j), "name")))
			} else {
				first[r.Name] = i
			}
		}
		if r.Group != "" {
			named(c, problem.Key(path, "group"), r.Group, "groups", c.p.Groups)
		}
		c.settings(path, &r.Settings, r.ownLimits)
		c.manyLimits(problem.Key(path, "limits"), r.Limits)
		c.matching(r, path)
		c.limitKeys(r, path)
		c.placeholdersOf(r, path)
		c.answer(r, path)
		c.combinations(r, path)
	}
	c.conflicts()
	c.spellings()
	c.logins()
	c.plainLogin()
}

// manyLimits reports more limits than one request can be asked about at once.
func (c *checker) manyLimits(path string, limits []string) {
	if n := len(limits); n > ratelimit.MaxLimits {
		c.bad(path, fmt.Sprintf("keep %d, and let one limit's key do for several", ratelimit.MaxLimits), "%d limits apply at once, those of defaults and group included", n)
	}
}

// limitKeys reports limits by a parameter that the route's path does not have, or by an account that no app names.
func (c *checker) limitKeys(r *Route, path string) {
	for _, name := range r.Limits {
		l := c.p.Limits[name]
		if l == nil {
			continue // which has been reported
		}
		at := c.at.KeyAt(path)
		if i := slices.Index(r.ownLimits, name); i >= 0 {
			at = c.at.At(problem.Item(problem.Key(path, "limits"), i))
			if l.ByAccount() && (r.Redirect != nil || r.Respond != nil) {
				c.Errorf(at, "remove it, or give the route an upstream", "the limit %s counts by account, and no app answers here that could name one", quote(name))
			}
		}
		for _, part := range l.Key {
			for _, text := range r.Path {
				if p, wrong, _ := parsePattern(text, r.IgnoreCase); part.Kind == ratelimit.KeyParam && part.Name != "" && wrong == "" && !p.hasParam(part.Name) {
					c.Errorf(at, "name the limit on routes alone whose path has such a :name", "the limit %s counts by %s, and the path %s has none", quote(name), part, quote(text))
				}
			}
		}
	}
}

// matching checks which requests a route asks for.
func (c *checker) matching(r *Route, path string) {
	for i, text := range r.Path {
		at := problem.Item(problem.Key(path, "path"), i)
		p, wrong, mend := parsePattern(text, r.IgnoreCase)
		if wrong != "" {
			c.bad(at, mend, "%s", wrong)
			continue
		}
		c.reserved(at, p)
		if r.EncodedSlashes != EncodedSlashesKeep && p.hasEncodedSlash() {
			c.bad(at, "write encoded_slashes: keep on the route", "requests for %s are answered with 400, as its path has an encoded slash or backslash", quote(text))
		}
		if r.StripPrefix != "" && !p.below(r.StripPrefix) {
			c.bad(problem.Key(path, "strip_prefix"), "write a prefix that ends where a segment does", "%s does not begin with %s", quote(text), quote(r.StripPrefix))
		}
		for _, template := range []struct{ path, text string }{{problem.Key(path, "rewrite"), r.Rewrite}, {problem.Key(path, "redirect", "to"), redirectTo(r)}} {
			for _, name := range references(template.text) {
				if !p.has(name) {
					c.bad(template.path, "use what the path has", "%s has nothing that %s refers to", quote(text), quote(name))
				}
			}
		}
	}
	for i, method := range r.Methods {
		at := problem.Item(problem.Key(path, "methods"), i)
		switch {
		case !httpx.IsToken(method):
			c.bad(at, "write it like GET", "%s is not a method", quote(method))
		case method != strings.ToUpper(method):
			c.bad(at, "write "+strings.ToUpper(method)+"; methods are case-sensitive", "no client sends the method %s", quote(method))
		case method == http.MethodTrace || method == http.MethodConnect:
			c.bad(at, "remove it", "the gateway answers %s with 405 on every path", method)
		case slices.Contains(r.Methods[:i], method):
			c.bad(at, "remove one", "%s stands twice", quote(method))
		}
	}
	if c.at.Has(problem.Key(path, "methods")) && r.Methods != nil && len(r.Methods) == 0 {
		c.bad(problem.Key(path, "methods"), "list methods, or remove the key for any", "the route takes no method")
	}
	c.problems(problem.Key(path, "match"), r.Match.Validate())
	for i, plan := range r.Match.Plan {
		at := problem.Item(problem.Key(path, "match", "plan"), i)
		if known := c.plans(); !slices.Contains(known, plan) {
			c.bad(at, suggest.DidYouMean(plan, "plans of clients", known), "no client is on the plan %s", quote(plan))
		}
	}
}

// plans are those of the clients with API keys, sorted.
func (c *checker) plans() []string {
	known := map[string]bool{}
	for _, client := range c.p.Clients {
		if client.Plan != "" {
			known[client.Plan] = true
		}
	}
	return sortedKeys(known)
}

func redirectTo(r *Route) string {
	if r.Redirect == nil {
		return ""
	}
	return r.Redirect.To
}

// below reports whether every path that the pattern matches begins with these segments.
func (p pattern) below(prefix string) bool {
	segments := strings.Split(trimSlashes(prefix), "/")
	if len(segments) > len(p.segments) {
		return false
	}
	for i, s := range segments {
		if p.segments[i].param || !p.takes(p.segments[i], s) {
			return false
		}
	}
	return true
}

// answer checks that exactly one thing answers, and how.
func (c *checker) answer(r *Route, path string) {
	var given []string
	if r.Upstream != "" || c.at.Has(problem.Key(path, "upstream")) {
		given = append(given, "upstream")
	}
	if r.Redirect != nil {
		given = append(given, "redirect")
		c.problems(problem.Key(path, "redirect"), r.Redirect.Validate())
	}
	if r.Respond != nil {
		given = append(given, "respond")
		c.problems(problem.Key(path, "respond"), r.Respond.Validate())
	}
	switch {
	case len(given) == 0:
		c.Errorf(c.at.KeyAt(path), "give it an upstream, a redirect or respond", "nothing answers on this route")
	case len(given) > 1:
		c.bad(problem.Key(path, given[len(given)-1]), "keep one of them", "the route has both %s", strings.Join(given, " and "))
	}
}

// Validate says what is wrong with a redirect, but for what its route's path has to give.
func (r *Redirect) Validate() []problem.Problem {
	var ps problem.List
	if r.To != "" {
		validatePlaceholders(&ps, "to", r.To)
		to, fixed := sampleURL(r.To)
		local := strings.HasPrefix(r.To, "/") && !strings.HasPrefix(r.To, "//")
		absolute := strings.HasPrefix(r.To, "http://") || strings.HasPrefix(r.To, "https://") || strings.HasPrefix(r.To, "{scheme}://")
		if !local && !absolute || absolute && fixed && !httpx.ValidPort(redirectPort(to)) || strings.ContainsAny(r.To, " \\\r\n\t") {
			ps.Add("to", "write it like https://example.com/* or /new", "%s is no place to redirect to", quote(r.To))
		} else if absolute && (!fixed || !fixedHost(to)) {
			ps.Add("to", "write the host out or as {host}, and use the rest in the path alone", "%s has no fixed host, and would send people wherever a link says", quote(r.To))
		}
	}
	if statuses := []int{301, 302, 303, 307, 308}; !slices.Contains(statuses, r.Status) {
		ps.Add("status", "choose 301, 302, 303, 307 or 308", "%d is not a redirect", r.Status)
	}
	return ps
}

// redirectPort is the port in an absolute URL, or "".
func redirectPort(to string) string {
	u, err := url.Parse(to)
	if err != nil {
		return "" // it has a :name for its host, see fixedHost
	}
	return u.Port()
}

// fixedHost reports whether a URL's host is one, and no :name of the route's path.
func fixedHost(to string) bool {
	_, rest, _ := strings.Cut(to, "://")
	if i := strings.IndexAny(rest, "/?#"); i >= 0 {
		rest = rest[:i]
	}
	host, err := httpx.NormalizeHost(rest, "")
	return err == nil && host.Name != ""
}

// Validate says what is wrong with a fixed response.
func (r *Respond) Validate() []problem.Problem {
	var ps problem.List
	if problem.Between(&ps, "status", r.Status, 200, 599) && (r.Status == 204 || r.Status == 205 || r.Status == 304) && r.Body != "" {
		ps.Add("body", "remove it, or choose another status", "an answer with status %d has no body", r.Status)
	}
	validateHeaderValue(&ps, "content_type", r.ContentType)
	return ps
}

// settings checks what a route, a group and defaults have in common. What a route inherited is checked where it was
// written; limits are those that stand at this place.
func (c *checker) settings(path string, s *Settings, limits []string) {
	has := func(key string) bool { return c.at.Has(problem.Key(path, key)) }
	if has("host") {
		for i, host := range s.Host {
			c.host(problem.Item(problem.Key(path, "host"), i), host)
		}
	}
	if has("upstream") {
		named(c, problem.Key(path, "upstream"), s.Upstream, "upstreams", c.p.Upstreams)
	}
	for i, name := range limits {
		at := problem.Item(problem.Key(path, "limits"), i)
		if name == "off" {
			c.bad(at, "write `limits: off` for none at all", "off stands in a list of limits")
			continue
		}
		named(c, at, name, "limits", c.p.Limits)
	}
	if has("cache") && s.Cache != "" {
		named(c, problem.Key(path, "cache"), s.Cache, "caches", c.p.Caches)
	}
	if has("queue") && s.Queue.Name != "" {
		named(c, problem.Key(path, "queue"), s.Queue.Name, "queues", c.p.Queues)
	}
	if has("client") && s.Client == ClientRequired && len(c.p.Clients) == 0 {
		c.bad(problem.Key(path, "client"), "define clients with their keys", "a known API key is required, and no client has one")
	}
	if has("csrf") && s.CSRF && c.p.Session.CSRF.Off {
		c.bad(problem.Key(path, "csrf"), "remove one of them; session.csrf: off is for all routes", "csrf is on here, and session.csrf is off")
	}
	if has("strip_prefix") {
		c.normalPath(problem.Key(path, "strip_prefix"), s.StripPrefix)
		if s.Rewrite != "" {
			c.bad(problem.Key(path, "strip_prefix"), "keep one of them", "both strip_prefix and rewrite are given")
		}
	}
	if has("rewrite") {
		validatePlaceholdersAt(c, problem.Key(path, "rewrite"), s.Rewrite, "{uri}", "{query}")
		if sample, _ := sampleURL(s.Rewrite); !strings.Contains(s.Rewrite, "{") || !strings.HasPrefix(sample, "/") {
			c.localPath(problem.Key(path, "rewrite"), s.Rewrite)
		}
		if strings.Contains(s.Rewrite, "?") {
			c.bad(problem.Key(path, "rewrite"), "remove the query; the request's own is kept", "a rewrite changes the path alone")
		}
	}
	if has("request_headers") {
		c.problems(problem.Key(path, "request_headers"), s.RequestHeaders.Validate())
	}
	if has("response_headers") {
		c.problems(problem.Key(path, "response_headers"), s.ResponseHeaders.Validate())
	}
	if has("compress") && s.Compress != nil {
		c.problems(problem.Key(path, "compress"), s.Compress.Validate())
	}
	if has("cors") && s.CORS != nil {
		c.problems(problem.Key(path, "cors"), s.CORS.Validate())
	}
}

// host checks a host that routes match.
func (c *checker) host(path, host string) {
	name, wildcard := strings.CutPrefix(host, "*.")
	normal, err := httpx.NormalizeHost(name, "")
	switch {
	case err != nil || name == "" || strings.Contains(name, "*"):
		c.bad(path, "write it like example.com or *.example.com", "%s is not a host", quote(host))
	case normal.Authority != normal.Name:
		c.bad(path, "write it without", "the host %s has a port, and ports are ignored in matching", quote(host))
	case normal.Name != name:
		if wildcard {
			normal.Name = "*." + normal.Name
		}
		c.bad(path, "write "+quote(normal.Name), "the host %s is not in its canonical form", quote(host))
	}
}

func (c *checker) normalPath(path, value string) {
	if normal, err := httpx.NormalizePath(value); err != nil || value == "" || normal.RawPath != value || strings.ContainsAny(value, "?#") {
		c.bad(path, "write it like /api", "%s is not a path that requests can have", quote(value))
	}
}

// Validate says what is wrong with changes to headers.
func (h *HeaderRules) Validate() []problem.Problem {
	var ps problem.List
	for _, part := range []struct {
		key    string
		values map[string]string
	}{{"set", h.Set}, {"add", h.Add}} {
		for _, name := range sortedKeys(part.values) {
			at := problem.Key(part.key, name)
			validateChanged(&ps, at, name)
			validateHeaderValue(&ps, at, part.values[name])
			validatePlaceholders(&ps, at, part.values[name])
		}
	}
	for i, name := range h.Remove {
		validateChanged(&ps, problem.Item("remove", i), name)
	}
	return ps
}

// validateChanged finds headers that a policy can't change, as the gateway or HTTP itself depends on them.
func validateChanged(ps *problem.List, path, name string) {
	if !validateHeaderName(ps, path, name) {
		return
	}
	name = textproto.CanonicalMIMEHeaderKey(name)
	switch name {
	case "Connection", "Keep-Alive", "Proxy-Connection", "Te", "Trailer", "Transfer-Encoding", "Upgrade", "Content-Length":
		ps.Add(path, "remove it", "%s belongs to the connection", name)
	case "Host":
		ps.Add(path, "write preserve_host: false for the upstream's own host", "Host is not changed here")
	case "Set-Cookie", "Cookie", "X-Forwarded-Prefix", "X-Forwarded-Port":
		return
	default:
		if strings.HasPrefix(name, "Headgate-") || strings.HasPrefix(name, "X-Forwarded-") || name == "Forwarded" {
			ps.Add(path, "choose another name", "%s is the gateway's own word to the app server", name)
		}
	}
}

// Validate says what is wrong with what other origins may do.
func (s *CORS) Validate() []problem.Problem {
	var ps problem.List
	for i, origin := range s.AllowOrigins {
		at := problem.Item("allow_origins", i)
		switch {
		case origin != "*":
			validateOrigin(&ps, at, origin, true)
		case s.AllowCredentials:
			ps.Add(at, "list the origins", "any origin together with cookies would let every site act in a user's name")
		}
	}
	for i, method := range s.AllowMethods {
		if !httpx.IsToken(method) || method != strings.ToUpper(method) {
			ps.Add(problem.Item("allow_methods", i), "write it like GET", "%s is not a method", quote(method))
		}
	}
	for i, name := range s.AllowHeaders {
		validateHeaderName(&ps, problem.Item("allow_headers", i), name)
	}
	for i, name := range s.ExposeHeaders {
		validateHeaderName(&ps, problem.Item("expose_headers", i), name)
	}
	return ps
}

// Validate says what is wrong with what else a request must have.
func (m *Conditions) Validate() []problem.Problem {
	var ps problem.List
	for _, name := range sortedKeys(m.Headers) {
		at := problem.Key("headers", name)
		if validateHeaderName(&ps, at, name) && strings.EqualFold(name, "Host") {
			ps.Add(at, "write host: on the route", "the Host header is not matched here")
		}
		validateHeaderValue(&ps, at, m.Headers[name])
	}
	for _, name := range sortedKeys(m.Cookies) {
		if !httpx.IsToken(name) {
			ps.Add(problem.Key("cookies", name), "write its name alone, like theme", "%s is not a cookie's name", quote(name))
		}
	}
	if _, err := m.compile(false); err != nil {
		ps.Add("path_regex", "mend it; the syntax is RE2's, https://github.com/google/re2/wiki/Syntax", "%s is not a regular expression: %v", quote(m.PathRegex), regexReason(err))
	} else if i := strings.IndexFunc(m.PathRegex, func(r rune) bool { return r >= utf8.RuneSelf || r == ' ' }); i >= 0 {
		ps.Add("path_regex", "write what URLs have: %20 for a space, %C3%A9 for an é", "no path matches %s, as it is escaped where it is matched", quote(m.PathRegex))
	}
	return ps
}

// regexReason is what is wrong with an expression, without the words that the regexp package puts before it.
func regexReason(err error) string {
	return strings.TrimPrefix(err.Error(), "error parsing regexp: ")
}

// combinations checks settings of a route that do not go together.
func (c *checker) combinations(r *Route, path string) {
	takes := func(methods ...string) bool {
		return len(r.Methods) == 0 || slices.ContainsFunc(methods, func(m string) bool { return slices.Contains(r.Methods, m) })
	}
	for i, tag := range r.Purge {
		c.tag(problem.Item(problem.Key(path, "purge"), i), tag)
	}
	if len(r.Purge) > 0 && r.Upstream == "" {
		c.warn(problem.Key(path, "purge"), "move it to the route that changes things", "nothing is ever purged, as the gateway itself answers on this route")
	} else if len(r.Purge) > 0 && !takes("POST", "PUT", "PATCH", "DELETE") {
		c.warn(problem.Key(path, "purge"), "move it to the route that changes things", "nothing is ever purged, as the route takes no POST, PUT, PATCH or DELETE")
	}
	if c.at.Has(problem.Key(path, "cache")) && r.Cache != "" {
		if r.Upstream == "" {
			c.bad(problem.Key(path, "cache"), "remove it", "the gateway itself answers on this route, so there is nothing to cache")
		} else if !takes("GET", "HEAD", httpx.MethodQuery) {
			c.warn(problem.Key(path, "cache"), "remove it", "nothing is cached, as the route takes no GET")
		}
	}
	if c.at.Has(problem.Key(path, "compress")) && r.Compress != nil && r.Redirect != nil {
		c.bad(problem.Key(path, "compress"), "remove it", "a redirect has no body to compress")
	}
	c.queue(r, path)
	if r.Session == session.Login {
		if len(r.Limits) == 0 {
			c.Warnf(c.at.KeyAt(path), "give it a limit with key [ip, route] and count: failed", "passwords can be guessed on this login route without a limit")
		}
		if r.Upstream == "" {
			c.bad(problem.Key(path, "session"), "give it an upstream", "nobody can log users in on this route")
		}
	}
	if r.Session == session.Logout && takes("GET", "HEAD") {
		c.Warnf(c.at.KeyAt(path), "write methods: [POST], and log out by a form", "a link logs users out on this route, and not every browser says that it prefetches one or that another site has it")
	}
	if r.Session == session.Required && slices.ContainsFunc(r.Path, func(p string) bool { return p == c.p.Session.LoginPath }) && takes("GET") {
		c.bad(problem.Key(path, "session"), "write optional or login", "%s is where browsers are sent to log in, and would send them on to itself", c.p.Session.LoginPath)
	}
	if u := c.p.Upstreams[r.Upstream]; u != nil && r.Timeout > 0 && r.Timeout != u.Timeout && u.Retry.TryTimeout >= r.Timeout {
		at := problem.Key(path, "timeout")
		if !c.at.Has(at) {
			at = path // its group has it, or defaults
		}
		c.warn(at, "make it longer than the upstream's try_timeout", "a request here has %v, and a single try may take %v, so that no other follows one that timed out", r.Timeout, u.Retry.TryTimeout)
	}
}
