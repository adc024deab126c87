package policytest

import (
	"fmt"
	"net/http"
	"net/netip"
	"net/url"
	"reflect"
	"strconv"
	"strings"

	"github.com/headgate/headgate/internal/suggest"
	"github.com/headgate/headgate/policies"
	"go.yaml.in/yaml/v3"
	"golang.org/x/net/http/httpguts"
)

// maxTimes bounds the requests of one step.
const maxTimes = 100_000

// test reads a test. names has those of the tests before it, with their positions.
func (d *decoder) test(n *yaml.Node, names map[string]policies.Position) {
	t := &Test{Position: d.at(n)}
	errors := d.errors()
	d.mapping(n, "a test", fields{
		"name": func(n *yaml.Node) { t.Name, _ = d.text(n) },
		"steps": func(n *yaml.Node) {
			d.list(n, "steps", func(n *yaml.Node) { t.Steps = append(t.Steps, d.step(n)) })
		},
	})
	if d.errors() == errors {
		switch first, dup := names[t.Name]; {
		case t.Name == "":
			d.errorf(t.Position, "say what holds: `name: a client has 100 requests a minute`", "the test has no name")
		case dup:
			d.errorf(t.Position, "rename one of them", "the test %q is there twice, first in line %d", short(t.Name), first.Line)
		case len(t.Steps) == 0:
			d.errorf(t.Position, "write `steps:` and `- send: GET /`", "the test has no steps")
		}
	}
	names[t.Name] = t.Position
	d.file.Tests = append(d.file.Tests, t)
}

func (d *decoder) step(n *yaml.Node) *Step {
	s := &Step{Position: d.at(n), Times: 1, Header: http.Header{}}
	var sent, waits bool
	var ofClient string // a key that only a request of a client may have
	var expect *yaml.Node
	var about string // a key that only a request may have
	ofRequest := func(key string, read func(*yaml.Node)) func(*yaml.Node) {
		return func(n *yaml.Node) {
			if about = key; key != "app" && key != "expect" {
				ofClient = key
			}
			read(n)
		}
	}
	errors := d.errors()
	d.mapping(n, "a step", fields{
		"wait":    func(n *yaml.Node) { waits, s.Wait = true, d.duration(n) },
		"jobs":    func(n *yaml.Node) { s.Jobs = d.word(n, "run") != "" },
		"send":    func(n *yaml.Node) { sent = true; d.send(n, s) },
		"as":      ofRequest("as", func(n *yaml.Node) { d.as(n, s) }),
		"from":    ofRequest("from", func(n *yaml.Node) { s.From = d.address(n) }),
		"headers": ofRequest("headers", func(n *yaml.Node) { d.header(n, s.Header) }),
		"body":    ofRequest("body", func(n *yaml.Node) { s.Body, _ = d.text(n) }),
		"times":   ofRequest("times", func(n *yaml.Node) { s.Times = d.number(n, 1, maxTimes) }),
		"over":    ofRequest("over", func(n *yaml.Node) { s.Over = d.duration(n) }),
		"lasts":   ofRequest("lasts", func(n *yaml.Node) { s.Lasts = d.duration(n) }),
		"app":     ofRequest("app", func(n *yaml.Node) { a := d.answer(n, false); s.App = &a }),
		"expect":  ofRequest("expect", func(n *yaml.Node) { expect = n }),
	})
	if s.As == nil {
		s.As = &Client{From: netip.MustParseAddr(defaultFrom)}
	}
	if d.errors() == errors {
		switch {
		case s.Jobs && (sent || waits):
			d.errorf(s.Position, "make it two steps", "the step runs jobs, and does something else")
		case s.Jobs && ofClient != "":
			d.errorf(s.Position, "keep app and expect alone", "the step runs jobs, and has no use for %q", ofClient)
		case sent && waits:
			d.errorf(s.Position, "make it two steps", "the step both waits and sends")
		case waits && about != "":
			d.errorf(s.Position, "make it two steps", "the step waits, and has no use for %q", about)
		case !waits && !sent && !s.Jobs:
			d.errorf(s.Position, "write `send: GET /`, `wait: 1m` or `jobs: run`", "the step does nothing")
		}
	}
	if expect != nil {
		d.expect(expect, s)
		d.fitting(expect, s)
	}
	return s
}

// fitting reports what a step expects that has no meaning for what it does.
func (d *decoder) fitting(n *yaml.Node, s *Step) {
	for i := range s.Expect {
		e := s.Expect[i].Expectation
		if e.Attempts != nil && !s.Jobs {
			d.errorf(d.at(n), "expect it of a step `jobs: run`", "a request makes no attempts at jobs")
		}
		e.Position, e.Attempts, e.Forwarded = policies.Position{}, nil, nil
		if s.Jobs && !reflect.DeepEqual(e, Expectation{}) {
			d.errorf(d.at(n), "expect attempts and forwarded alone", "running jobs has no answer of which more could be expected")
		}
	}
}

// as reads the name of the client that sends the request.
func (d *decoder) as(n *yaml.Node, s *Step) {
	name, ok := d.text(n)
	if !ok {
		return
	}
	if s.As = d.file.Clients[name]; s.As != nil {
		return
	}
	var known []string
	for name := range d.file.Clients {
		known = append(known, name)
	}
	mend := "describe it under `clients:` at the top of the file"
	if len(known) > 0 {
		mend = suggest.DidYouMean(name, "clients", known)
	}
	d.errorf(d.at(n), mend, "nobody is called %q", short(name))
}

// send reads a request line: GET /path, or GET https://host/path.
func (d *decoder) send(n *yaml.Node, s *Step) {
	line, ok := d.text(n)
	if !ok {
		return
	}
	method, target, ok := strings.Cut(line, " ")
	if !ok || !httpguts.ValidHeaderFieldName(method) || strings.ContainsAny(target, " \t\r\n") {
		d.errorf(d.at(n), "write it like `GET /path`", "%q is not a method and a URL", short(line))
		return
	}
	if strings.HasPrefix(target, "/") {
		target = d.file.Base + target
	}
	scheme, rest, _ := strings.Cut(target, "://")
	authority, path := rest, "/"
	if i := strings.IndexAny(rest, "/?"); i >= 0 {
		authority, path = rest[:i], rest[i:]
		if path[0] == '?' {
			path = "/" + path
		}
	}
	if scheme != "http" && scheme != "https" || authority == "" || strings.ContainsAny(authority, "@#") {
		d.errorf(d.at(n), "begin with / or https://host/", "%q is not a URL", short(target))
		return
	}
	if _, err := url.ParseRequestURI(path); err != nil || strings.Contains(path, "#") {
		d.errorf(d.at(n), "write it as a browser would send it, without a fragment", "%q is not the path of a URL", short(path))
		return
	}
	s.Method, s.Scheme, s.Host, s.Target = method, scheme, authority, path
}

// expect reads one expectation for all of a step's requests, or one each for
// the `first N`, the `next N` and the `rest` of them.
func (d *decoder) expect(n *yaml.Node, s *Step) {
	at := d.at(n)
	resolved := n
	if n.Kind == yaml.AliasNode {
		resolved = n.Alias
	}
	if resolved.Kind == yaml.MappingNode && len(resolved.Content) > 0 && isPhase(resolved.Content[0].Value) {
		d.phases(n, s)
		return
	}
	s.Expect = []Phase{{Requests: s.Times, Expectation: d.expectation(n)}}
	s.Expect[0].Position = at
}

func isPhase(key string) bool {
	word, _, _ := strings.Cut(key, " ")
	return word == "first" || word == "next" || word == "rest"
}

func (d *decoder) phases(n *yaml.Node, s *Step) {
	at := d.at(n)
	left, rested := s.Times, false
	errors := d.errors()
	d.pairs(n, "what is expected", func(key string, k, value *yaml.Node) {
		word, many, _ := strings.Cut(key, " ")
		p := Phase{Requests: left}
		switch number, err := strconv.Atoi(many); {
		case rested:
			d.errorf(d.at(k), "put it before `rest`", "%q comes after the rest", short(key))
			return
		case key == "rest":
			rested = true
			if left == 0 {
				d.errorf(d.at(k), fmt.Sprintf("raise `times`, which is %d, or remove it", s.Times), "no request is left for `rest`")
			}
		case word == "first" && len(s.Expect) > 0:
			d.errorf(d.at(k), "write `next "+short(many)+"`", "%q does not come first", short(key))
			return
		case (word == "first" || word == "next") && err == nil && number > 0:
			p.Requests = number
			if number > left {
				d.errorf(d.at(k), fmt.Sprintf("`times` is %d", s.Times), "%q is more than what is left: %s", short(key), count(left, "request"))
				return
			}
		default:
			d.errorf(d.at(k), "write `first 100`, `next 10` or `rest`", "%q does not say which requests", short(key))
			return
		}
		left -= p.Requests
		p.Expectation = d.expectation(value)
		p.Position = d.at(k)
		s.Expect = append(s.Expect, p)
	})
	if left > 0 && d.errors() == errors {
		d.errorf(at, "add `rest`", "nothing is said of the last %s", count(left, "request"))
	}
}

func (d *decoder) expectation(n *yaml.Node) Expectation {
	e := Expectation{Position: d.at(n)}
	d.mapping(n, "what is expected", fields{
		"status":         func(n *yaml.Node) { e.Status = d.statuses(n) },
		"route":          func(n *yaml.Node) { e.Route = d.wantName(n, "route") },
		"denied_by":      func(n *yaml.Node) { e.DeniedBy = d.wantName(n, "limit") },
		"denied_network": func(n *yaml.Node) { e.Network = d.want(n) },
		"client":         func(n *yaml.Node) { e.Client = d.wantName(n, "client") },
		"user":           func(n *yaml.Node) { e.User = d.want(n) },
		"session":        func(n *yaml.Node) { e.Session = d.word(n, sessionNeeded, sessionNotNeeded) },
		"cache":          func(n *yaml.Node) { e.Cache = d.word(n, cacheWords...) },
		"queue":          func(n *yaml.Node) { e.Queue = d.wantName(n, "queue") },
		"attempts":       func(n *yaml.Node) { e.Attempts = d.want(n) },
		"headers":        func(n *yaml.Node) { e.Header = d.wantHeader(n) },
		"body":           func(n *yaml.Node) { e.Body = d.want(n) },
		"remaining": func(n *yaml.Node) {
			d.pairs(n, "what remains of limits", func(name string, key, value *yaml.Node) {
				d.requireName(key, "limit", name)
				if w := d.want(value); w != nil {
					e.Remaining = append(e.Remaining, NamedWant{name, *w})
				}
			})
		},
		"forwarded": func(n *yaml.Node) { e.Forwarded = d.forwarding(n) },
	})
	return e
}

// The words for sessions and caches.
const (
	sessionNeeded    = "needed"
	sessionNotNeeded = "not-needed"
	cacheNone        = "none"
	cacheMiss        = "miss"
)

var cacheWords = []string{"hit", "stale", "revalidated", cacheMiss, "bypass", "purged", cacheNone}

// statuses reads one status or a list of them.
func (d *decoder) statuses(n *yaml.Node) (all []int) {
	if kind(n) != yaml.SequenceNode {
		return []int{d.number(n, 100, 599)}
	}
	d.list(n, "status", func(n *yaml.Node) { all = append(all, d.number(n, 100, 599)) })
	return all
}

func (d *decoder) wantHeader(n *yaml.Node) (all []NamedWant) {
	d.pairs(n, "headers", func(name string, key, value *yaml.Node) {
		if !httpguts.ValidHeaderFieldName(name) {
			d.errorf(d.at(key), "a name is letters, digits and dashes", "%q is not a header", short(name))
			return
		}
		if w := d.want(value); w != nil {
			all = append(all, NamedWant{http.CanonicalHeaderKey(name), *w})
		}
	})
	return all
}

// forwarding reads an expectation of what an app server receives: `no`, `yes`, or its parts.
func (d *decoder) forwarding(n *yaml.Node) *Forwarding {
	f := new(Forwarding)
	if kind(n) == yaml.ScalarNode {
		f.No = d.word(n, "yes", "no") == "no"
		return f
	}
	d.mapping(n, "what is forwarded", fields{
		"to":      func(n *yaml.Node) { f.To = d.wantName(n, "upstream") },
		"server":  func(n *yaml.Node) { f.Server = d.want(n) },
		"method":  func(n *yaml.Node) { f.Method = d.want(n) },
		"path":    func(n *yaml.Node) { f.Path = d.want(n) },
		"host":    func(n *yaml.Node) { f.Host = d.want(n) },
		"headers": func(n *yaml.Node) { f.Header = d.wantHeader(n) },
		"body":    func(n *yaml.Node) { f.Body = d.want(n) },
	})
	return f
}
