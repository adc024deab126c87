package replay

import (
	"strings"

	"github.com/headgate/headgate/gateway/replay/logs"
)

// agentKind is what kind of program a user agent names.
type agentKind uint8

const (
	agentUnknown  agentKind = iota // the log has no user agents
	agentPerson                    // names a browser or an app
	agentDeclared                  // calls itself a bot, crawler or spider
	agentTool                      // an HTTP library or command-line tool
	agentEmpty                     // the header is empty or missing
)

// looksLikeBot reports whether the request is likely to be a bot's. A bot that sends a browser's
// user agent is taken for a browser.
func (k agentKind) looksLikeBot() bool { return k >= agentDeclared }

// Parts of user agents, in lower case. The lists are short so that what they name is certainly a bot; they miss
// some bots.
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

// classifyAgent returns the kind of a user agent.
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
