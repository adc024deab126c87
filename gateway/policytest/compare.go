package policytest

import (
	"context"
	"fmt"
	"net/http"
	"net/netip"
	"slices"
	"strconv"
	"strings"
)

// Difference is one value that is not as expected.
type Difference struct {
	What string `json:"what"`
	Want string `json:"want"`
	Got  string `json:"got"`
}

// compare compares what was observed of a request with what the test expects.
func (h *harness) compare(ctx context.Context, e *Expectation, got *observed) []Difference {
	var c comparison
	if got.truncated {
		c.differ("answer", "a whole one", "cut off")
	}
	if len(e.Status) > 0 && !slices.Contains(e.Status, got.status) {
		c.differ("status", statusList(e.Status), strconv.Itoa(got.status))
	}
	o := &got.record
	c.value("route", e.Route, o.Route)
	c.value("denied_by", e.DeniedBy, o.Limit)
	c.network(e.Network, o.Denied)
	c.value("client", e.Client, o.Client)
	c.value("user", e.User, o.User)
	c.session(e.Session, o.SessionNeeded)
	c.value("queue", e.Queue, takenBy(got))
	if e.Attempts != nil && !e.Attempts.matches(strconv.Itoa(got.attempts)) {
		c.differ("attempts", e.Attempts.String(), strconv.Itoa(got.attempts))
	}
	if word := cacheWord(got.responseHeader["Cache-Status"]); e.Cache != "" && e.Cache != word {
		if lines := got.responseHeader["Cache-Status"]; len(lines) > 0 {
			word += " (" + lines[len(lines)-1] + ")"
		}
		c.differ("cache", e.Cache, word)
	}
	c.header("headers.", e.Header, got.responseHeader)
	c.text("body", e.Body, got.body)
	if len(e.Remaining) > 0 {
		c.remaining(ctx, h, e.Remaining, got)
	}
	if e.Forwarded != nil {
		c.forwarded(e.Forwarded, got.received)
	}
	return c.found
}

// takenBy is the queue of which the request has become a job.
func takenBy(got *observed) string {
	if got.status != http.StatusAccepted {
		return ""
	}
	return got.record.Queue
}

type comparison struct{ found []Difference }

func (c *comparison) differ(what, want, got string) {
	c.found = append(c.found, Difference{what, want, got})
}

// value compares a value. An empty one counts as missing.
func (c *comparison) value(what string, want *Want, got string) {
	if want == nil {
		return
	}
	var values []string
	if got != "" {
		values = []string{got}
	}
	if !want.matches(values...) {
		c.differ(what, want.String(), orNone(values))
	}
}

// network compares the network that refuses the client.
func (c *comparison) network(want *Want, got netip.Prefix) {
	if got.IsValid() {
		c.value("denied_network", want, got.String())
		return
	}
	c.value("denied_network", want, "")
}

// text compares a body. Line breaks at its end are ignored.
func (c *comparison) text(what string, want *Want, got string) {
	if want == nil {
		return
	}
	trimmed := strings.TrimRight(got, "\r\n")
	if want.kind == wantExact && strings.TrimRight(want.exact, "\r\n") == trimmed {
		return
	}
	c.value(what, want, trimmed)
}

func (c *comparison) header(what string, wants []NamedWant, got http.Header) {
	for _, w := range wants {
		if values := got[w.Name]; !w.Want.matches(values...) {
			c.differ(what+w.Name, w.Want.String(), orNone(values))
		}
	}
}

func (c *comparison) session(want string, needed bool) {
	got := sessionNotNeeded
	if needed {
		got = sessionNeeded
	}
	if want != "" && want != got {
		c.differ("session", want, got)
	}
}

// remaining compares what is left of limits after the request. It asks the counters, not the response's headers: a limit
// that counts by the response is settled after the header is made.
func (c *comparison) remaining(ctx context.Context, h *harness, wants []NamedWant, got *observed) {
	left := map[string]string{}
	if e := h.explain(ctx, got); e != nil {
		for _, l := range e.Limits {
			if l.Unknown == "" {
				left[l.Name] = strconv.FormatInt(l.Remaining, 10)
			}
		}
	}
	for _, want := range wants {
		n, ok := left[want.Name]
		switch {
		case !ok && want.Want.kind != wantNone:
			c.differ("remaining."+want.Name, want.Want.String(), "none: the limit does not apply")
		case ok && !want.Want.matches(n):
			c.differ("remaining."+want.Name, want.Want.String(), n)
		}
	}
}

func (c *comparison) forwarded(want *Forwarding, all []*received) {
	switch {
	case want.No && len(all) > 0:
		last := all[len(all)-1]
		c.differ("forwarded", "no", fmt.Sprintf("%s %s, to %s at %s", last.Method, last.Path, last.Upstream, last.Server))
		return
	case want.No:
		return
	case len(all) == 0:
		c.differ("forwarded", "yes", "no")
		return
	}
	got := all[len(all)-1]
	c.value("forwarded.to", want.To, got.Upstream)
	c.value("forwarded.server", want.Server, got.Server)
	c.value("forwarded.method", want.Method, got.Method)
	c.value("forwarded.path", want.Path, got.Path)
	c.value("forwarded.host", want.Host, got.Host)
	c.header("forwarded.headers.", want.Header, got.Header)
	c.text("forwarded.body", want.Body, got.Body)
}

// cacheWord says in one word how the cache took part in a response. It reads the gateway's
// member of Cache-Status (RFC 9211): the last one, as each cache appends its own.
func cacheWord(lines []string) string {
	if len(lines) == 0 {
		return cacheNone
	}
	ours := lines[len(lines)-1]
	i := strings.LastIndex(ours, "headgate;")
	if i < 0 {
		return cacheNone
	}
	params := map[string]string{}
	for param := range strings.SplitSeq(ours[i:], ";") {
		name, value, _ := strings.Cut(strings.TrimSpace(param), "=")
		params[name] = value
	}
	_, hit := params["hit"]
	switch status := params["fwd-status"]; {
	case hit && strings.HasPrefix(params["ttl"], "-"):
		return "stale"
	case hit:
		return "hit"
	case status == "304":
		return "revalidated"
	case params["fwd"] == "stale" && (status != "" || params["detail"] == "unreachable"):
		return "stale" // served because the app server failed
	case params["fwd"] == "bypass" || params["fwd"] == "method" || params["fwd"] == "request":
		return "bypass"
	case params["detail"] == "purged":
		return "purged"
	}
	return cacheMiss
}

func orNone(values []string) string {
	if len(values) == 0 {
		return "none"
	}
	return strings.Join(values, ", ")
}

func statusList(all []int) string {
	var words []string
	for _, s := range all {
		words = append(words, strconv.Itoa(s))
	}
	return strings.Join(words, " or ")
}
