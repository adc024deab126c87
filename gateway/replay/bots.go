package replay

import (
	"strings"

	"github.com/headgate/headgate/gateway/replay/logs"
)

// agentKind is what a user agent says of itself.
type agentKind uint8

const (
	agentUnknown  agentKind = iota // the log does not tell user agents
	agentPerson                    // a browser or an app, for all that it says
	agentDeclared                  // calls itself a bot, crawler or spider
	agentTool                      // an HTTP library or command-line tool
	agentEmpty                     // says nothing
)

// looksLikeBot reports whether a program is likely to be behind it. Programs that pretend to be
// browsers are taken for browsers: the user agent is all that is looked at.
func (k agentKind) looksLikeBot() bool { return k >= agentDeclared }

// What is looked for, in lower case and anywhere in the user agent. The lists are
// short on purpose: what they name is a bot for sure, what they miss may be one.
var (
	declaredBots = []string{
		"bot/", "bot;", "bot)", "-bot", "crawl", "spider", "slurp", "facebookexternalhit", "mediapartners-google",
		"feedfetcher", "bingpreview", "uptimerobot", "pingdom", "gptbot", "claudebot", "ccbot", "archiver", "scanner", "monitoring",
	}
	botTools = []string{
		"curl/", "wget/", "python-requests/", "python-urllib", "python-httpx/", "aiohttp/", "scrapy", "go-http-client/",
		"libwww-perl", "java/", "apache-httpclient/", "axios/", "node-fetch", "undici", "guzzlehttp", "php/", "ruby",
		"httpie/", "postmanruntime/", "headlesschrome", "phantomjs", "nikto", "sqlmap", "masscan", "zgrab", "nuclei", "k6/", "wrk/", "ab/", "hey/",
	}
)

// classifyAgent says what a user agent stands for.
func classifyAgent(agent string) agentKind {
	if agent == "" {
		return agentEmpty
	}
	lower := strings.ToLower(agent)
	if strings.HasSuffix(lower, "bot") || containsAny(lower, declaredBots) {
		return agentDeclared
	}
	for _, tool := range botTools {
		if i := strings.Index(lower, tool); i == 0 || i > 0 && !isLetter(lower[i-1]) {
			return agentTool
		}
	}
	return agentPerson
}

func isLetter(c byte) bool { return c >= 'a' && c <= 'z' }

func containsAny(s string, parts []string) bool {
	for _, p := range parts {
		if strings.Contains(s, p) {
			return true
		}
	}
	return false
}

const (
	maxAgents   = 8192 // how many user agents are remembered
	maxAgentLen = 512  // bytes; longer ones are not remembered
)

// agents classifies user agents and remembers the answers, in bounded memory: when they are too many it
// forgets them all.
type agents struct{ known map[string]agentKind }

func (a *agents) kind(r *logs.Record) agentKind {
	if !r.HasAgent {
		return agentUnknown
	}
	if k, ok := a.known[r.Agent]; ok {
		return k
	}
	if a.known == nil || len(a.known) >= maxAgents {
		a.known = make(map[string]agentKind, 256)
	}
	k := classifyAgent(r.Agent)
	if len(r.Agent) <= maxAgentLen {
		a.known[r.Agent] = k
	}
	return k
}
