//go:build linux

package main

import (
	"bytes"
	"cmp"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"net/http"
	"strconv"
	"strings"
	"time"
)

// request is what a client asks.
type request struct {
	kind      string // by which it is counted
	method    string
	path      string
	header    map[string]string
	body      []byte
	cookie    string
	cached    bool   // another client's answer of an app server may be given
	byGateway bool   // the gateway answers by itself
	asks      string // the path that the app server is asked; "": the same
}

// answer is what a client got for a request.
type answer struct {
	kind       string
	id         string // the request's
	sent, done time.Time
	err        error // there is no whole answer
	status     int
	header     http.Header
	body       []byte
	page       *page // where an app server answered
}

// client sends requests through the balancer, one at a time, over a connection that it keeps.
type client struct {
	report *report
	addr   string
	http   *http.Client
	rng    *rand.Rand
	name   string
	ip     string // the client's address, by X-Forwarded-For
	nth    int
}

// answerTimeout is how long a client waits. It is above all timeouts on the way.
const answerTimeout = 40 * time.Second

// newClient returns a client that is named in its requests' IDs. It has an address of its own, which
// is not 127.0.0.1: the proxies before Redis change that, see redistest.LaunchProxy.
func newClient(r *report, addr, name string, rng *rand.Rand) *client {
	ip := fmt.Sprintf("198.18.%d.%d", rng.IntN(256), rng.IntN(256))
	return &client{report: r, addr: addr, name: name, ip: ip, rng: rng, http: &http.Client{
		Transport:     &http.Transport{MaxIdleConnsPerHost: 1, DisableCompression: true},
		CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse },
	}}
}

// do sends a request, counts what becomes of it, and judges whether the answer belongs to it.
func (c *client) do(ctx context.Context, q request) answer {
	c.nth++
	a := answer{kind: q.kind, id: fmt.Sprintf("%s-%d", c.name, c.nth), sent: time.Now()}
	a.err = c.send(ctx, q, &a)
	a.done = time.Now()
	if ctx.Err() != nil {
		a.err = ctx.Err() // the run is over, which is no fault of the gateway's
		return a
	}
	c.report.count(a)
	if a.err == nil {
		for _, f := range judgeAnswer(q, &a) {
			c.report.judge(f, a.id)
		}
	}
	return a
}

func (c *client) send(ctx context.Context, q request, a *answer) error {
	ctx, cancel := context.WithTimeout(ctx, answerTimeout)
	defer cancel()
	req, err := http.NewRequestWithContext(ctx, q.method, "http://"+c.addr+q.path, bytes.NewReader(q.body))
	if err != nil {
		return err
	}
	req.Host = "shop.example"
	req.Header.Set(headerNonce, a.id)
	req.Header.Set(headerSize, strconv.Itoa(c.rng.IntN(4096)))
	req.Header.Set("X-Forwarded-For", c.ip)
	req.Header.Set("Sec-Fetch-Site", "same-origin")
	if len(q.body) > 0 {
		req.Header.Set(headerSum, sumOf(q.body))
	}
	if q.cookie != "" {
		req.Header.Set("Cookie", q.cookie)
	}
	for name, value := range q.header {
		req.Header.Set(name, value)
	}
	res, err := c.http.Do(req)
	if err != nil {
		return err
	}
	defer res.Body.Close()
	a.status, a.header = res.StatusCode, res.Header
	a.body, err = io.ReadAll(res.Body)
	return err
}

// judgeAnswer checks that a whole answer is that to its request, and is whole. It fills in the page
// of an app server's answer. What HAProxy answers by itself has no request ID and is no page.
func judgeAnswer(q request, a *answer) (found []finding) {
	holds := func(invariant string, ok bool, format string, args ...any) {
		found = append(found, finding{invariant: invariant, holds: ok, detail: fmt.Sprintf(format, args...)})
	}
	if id := a.header.Get(headerNonce); id != "" {
		holds(rightClient, id == a.id, "the answer has the request ID %q", id)
	} else if a.status < 500 && a.status != http.StatusBadRequest && a.status != http.StatusRequestTimeout {
		holds(rightClient, false, "an answer of status %d has no request ID", a.status)
	}
	if a.status != http.StatusOK || q.byGateway {
		return found
	}
	p, filler, err := readPage(a.body)
	if err != nil {
		holds(wholeBodies, false, "%d bytes that were answered as whole are none of an app server's answers: %v", len(a.body), err)
		return found
	}
	a.page = p
	holds(wholeBodies, sumOf(filler) == p.Sum, "%d bytes of filler have another sum than the app server's", len(filler))
	holds(rightClient, p.Path == cmp.Or(q.asks, q.path), "the page is %s", p.Path)
	if q.cached {
		return found
	}
	holds(rightClient, p.Nonce == a.id, "it is the answer to %s", p.Nonce)
	if len(q.body) > 0 {
		holds(wholeBodies, p.Got == sumOf(q.body), "the app server has got another body")
	}
	return found
}

// readPage takes an app server's answer apart.
func readPage(body []byte) (*page, []byte, error) {
	line, filler, ok := bytes.Cut(body, []byte("\n"))
	if !ok {
		return nil, nil, errors.New("it has no first line")
	}
	p := new(page)
	if err := json.Unmarshal(line, p); err != nil {
		return nil, nil, err
	}
	return p, filler, nil
}

// jar is what a browser keeps of the gateway's cookies.
type jar struct {
	cookie string   // name=value, "" where there is none
	all    []string // each that it ever had
}

// take keeps the cookie of an answer.
func (j *jar) take(a answer) {
	for _, line := range a.header["Set-Cookie"] {
		c, err := http.ParseSetCookie(line)
		if err != nil || !strings.Contains(c.Name, "session") {
			continue
		}
		if c.MaxAge < 0 || c.Value == "" {
			j.cookie = ""
			continue
		}
		j.cookie = c.Name + "=" + c.Value
		j.all = append(j.all, j.cookie)
	}
}
