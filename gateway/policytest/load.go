package policytest

import (
	"fmt"
	"net/http"
	"net/netip"
	"net/url"
	"strings"
	"time"

	"github.com/headgate/headgate/internal/filestate"
	"github.com/headgate/headgate/internal/yamlnode"
	"github.com/headgate/headgate/policies"
	"go.yaml.in/yaml/v3"
	"golang.org/x/net/http/httpguts"
)

// Defaults of a file.
const (
	defaultBase = "https://gateway.test"
	// defaultFrom is an address of TEST-NET-1 (RFC 5737).
	defaultFrom = "192.0.2.1"
)

// defaultClock is a round time, so that times in failures are easy to read.
var defaultClock = time.Date(2026, 1, 1, 0, 0, 0, 0, time.UTC)

// Load reads a file of tests. The file is nil if the diagnostics have an error.
func Load(path string) (*File, policies.Diagnostics) {
	data, err := filestate.Read(path) // of more than yamlnode.Parse accepts, which reports it
	if err != nil {
		return nil, policies.Diagnostics{{
			Position: policies.Position{File: path, Line: 1, Column: 1},
			Message:  fmt.Sprintf("the tests cannot be read: %v", err), Mend: "check the name and the permissions",
		}}
	}
	return Parse(path, data)
}

// Parse reads a file of tests from memory; name is for diagnostics.
func Parse(name string, data []byte) (*File, policies.Diagnostics) {
	root, problem := yamlnode.Parse(name, data)
	if problem != nil {
		if strings.HasPrefix(problem.Message, "not valid YAML") {
			problem.Mend = "mend the YAML here or just above; inside { } and [ ], text with ? or , needs quotes"
		}
		return nil, policies.Diagnostics{*problem}
	}
	f := &File{Name: name, Base: defaultBase, Clock: defaultClock,
		Env: map[string]string{}, Clients: map[string]*Client{}, Apps: map[string][]Answer{}}
	d := newDecoder(f)
	d.document(root)
	found := d.Report.Sorted()
	if found.HasErrors() {
		return nil, found
	}
	return f, found
}

// document reads the whole file. Clients and apps are read before the tests that refer to them, wherever they
// stand.
func (d *decoder) document(root *yaml.Node) {
	var tests *yaml.Node
	versioned := false
	d.mapping(root, "a file of tests", fields{
		"version": func(n *yaml.Node) {
			versioned = true
			if v, ok := d.text(n); ok && v != "1" {
				d.errorf(d.at(n), "write `version: 1`", "version %q is not known", short(v))
			}
		},
		"env":     d.env,
		"base":    d.base,
		"clock":   d.clock,
		"clients": d.clients,
		"apps":    d.apps,
		"tests":   func(n *yaml.Node) { tests = n },
	})
	if !versioned && root.Kind == yaml.MappingNode {
		d.errorf(d.at(root), "begin with `version: 1`", "the version is missing")
	}
	if tests == nil {
		if root.Kind == yaml.MappingNode {
			d.errorf(d.at(root), "write `tests:` and a list of them", "there are no tests")
		}
		return
	}
	names := map[string]policies.Position{}
	d.list(tests, "tests", func(n *yaml.Node) { d.test(n, names) })
	if len(d.file.Tests) == 0 && d.errors() == 0 {
		d.errorf(d.at(tests), "write one, or remove the file", "there are no tests")
	}
}

func (d *decoder) env(n *yaml.Node) {
	d.pairs(n, "env", func(name string, _, value *yaml.Node) {
		if s, ok := d.text(value); ok {
			d.file.Env[name] = s
		}
	})
}

func (d *decoder) base(n *yaml.Node) {
	s, ok := d.text(n)
	if !ok {
		return
	}
	u, err := url.Parse(s)
	if err != nil || u.Scheme != "http" && u.Scheme != "https" || u.Host == "" || u.Path != "" || u.RawQuery != "" || u.User != nil {
		d.errorf(d.at(n), "write it like https://example.com", "%q is not the beginning of a URL", short(s))
		return
	}
	d.file.Base = s
}

func (d *decoder) clock(n *yaml.Node) {
	s, ok := d.text(n)
	if !ok {
		return
	}
	t, err := time.Parse(time.RFC3339, s)
	if err != nil || t.Year() < 1980 || t.Year() > 2200 {
		d.errorf(d.at(n), "write it like 2026-01-01T00:00:00Z", "%q is not a time of these days", short(s))
		return
	}
	d.file.Clock = t
}

func (d *decoder) clients(n *yaml.Node) {
	d.pairs(n, "clients", func(name string, _, value *yaml.Node) {
		c := &Client{Name: name, From: netip.MustParseAddr(defaultFrom), Header: http.Header{}}
		d.file.Clients[name] = c
		d.mapping(value, "a client", fields{
			"from":    func(n *yaml.Node) { c.From = d.address(n) },
			"headers": func(n *yaml.Node) { d.header(n, c.Header) },
		})
	})
}

// header reads headers to be sent: a value for each name, or a list.
func (d *decoder) header(n *yaml.Node, h http.Header) {
	d.pairs(n, "headers", func(name string, key, value *yaml.Node) {
		if !httpguts.ValidHeaderFieldName(name) {
			d.errorf(d.at(key), "a name is letters, digits and dashes", "%q is not a header", short(name))
			return
		}
		name = http.CanonicalHeaderKey(name)
		add := func(n *yaml.Node) {
			s, ok := d.text(n)
			if ok && !httpguts.ValidHeaderFieldValue(s) {
				d.errorf(d.at(n), "leave out control characters and line breaks", "%q cannot be the value of a header", short(s))
				return
			}
			h[name] = append(h[name], s)
		}
		if kind(value) == yaml.SequenceNode {
			d.list(value, "a header", add)
			return
		}
		add(value)
	})
}

func (d *decoder) apps(n *yaml.Node) {
	d.pairs(n, "apps", func(name string, key, value *yaml.Node) {
		d.requireName(key, "upstream", name)
		if kind(value) != yaml.SequenceNode {
			d.file.Apps[name] = []Answer{d.answer(value, true)}
			return
		}
		d.list(value, "an app's answers", func(n *yaml.Node) {
			d.file.Apps[name] = append(d.file.Apps[name], d.answer(n, true))
		})
	})
}

// answer reads an answer of an app server. mayChoose allows `to`, which says for which requests it is.
func (d *decoder) answer(n *yaml.Node, mayChoose bool) Answer {
	a := Answer{Status: http.StatusOK, Header: http.Header{}}
	known := fields{
		"status":  func(n *yaml.Node) { a.Status = d.number(n, 101, 599) },
		"headers": func(n *yaml.Node) { d.header(n, a.Header) },
		"body": func(n *yaml.Node) {
			a.Body, a.HasBody = d.text(n)
		},
		"fail": func(n *yaml.Node) { a.Fail = Failure(d.word(n, string(Refused), string(Timeout))) },
	}
	if mayChoose {
		known["to"] = func(n *yaml.Node) { d.chosen(n, &a) }
	}
	d.mapping(n, "an answer", known)
	return a
}

// chosen reads which requests an answer is for: a method, a path, or both.
func (d *decoder) chosen(n *yaml.Node, a *Answer) {
	s, ok := d.text(n)
	if !ok {
		return
	}
	method, path, both := strings.Cut(s, " ")
	if !both && strings.HasPrefix(s, "/") {
		method, path = "", s
	}
	a.Method, a.Path = method, path
	if method != "" && !httpguts.ValidHeaderFieldName(method) || path != "" && !strings.HasPrefix(path, "/") {
		d.errorf(d.at(n), "write it like `POST /login`, `/assets/*` or `DELETE`", "%q does not say which requests", short(s))
	}
}
