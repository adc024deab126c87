//go:build linux

package main

import (
	"bytes"
	"context"
	"crypto/tls"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"os"
	"os/exec"
	"regexp"
	"strconv"
	"strings"
	"time"
)

// closedLoop measures a contender once at a work, into the report.
func (l *lab) closedLoop(p *plan, r *report, w *work, c *contender) {
	s := c.servers[w.key]
	if s == nil || l.ctx.Err() != nil {
		return
	}
	if err := s.prepare(l.ctx, w); err != nil {
		r.fail("%s, %s: %v", w.name, c.name, err)
		return
	}
	own, redis := cpu(s.pid), cpu(s.redis)
	n, err := l.saturate(s, w, p.seconds)
	own, redis = cpu(s.pid)-own, cpu(s.redis)-redis
	if err != nil {
		r.fail("%s, %s: %v", w.name, c.name, err)
		return
	}
	r.add(w.key, c.name, "cpu", perRequest(own, n))
	r.add(w.key, c.name, "redis", perRequest(redis, n))
}

// perRequest is in microseconds.
func perRequest(used time.Duration, requests float64) float64 {
	return float64(used) / float64(time.Microsecond) / requests
}

// prepare spends what the work wants to be spent, and checks one answer.
func (s *server) prepare(ctx context.Context, w *work) error {
	transport := &http.Transport{
		TLSClientConfig:   &tls.Config{InsecureSkipVerify: true}, // the certificate is self-signed, on loopback
		ForceAttemptHTTP2: w.h2,
	}
	defer transport.CloseIdleConnections()
	client := &http.Client{Transport: transport, Timeout: 10 * time.Second}
	status := 0
	for range w.spend + 1 {
		method, body := http.MethodGet, io.Reader(nil)
		if w.post {
			method, body = http.MethodPost, strings.NewReader(strings.Repeat("x", postBody))
		}
		req, err := http.NewRequestWithContext(ctx, method, w.url(s), body)
		if err != nil {
			return err
		}
		res, err := client.Do(req)
		if err != nil {
			return err
		}
		_, err = io.Copy(io.Discard, res.Body)
		res.Body.Close()
		if err != nil {
			return err
		}
		if w.h2 && res.ProtoMajor != 2 {
			return fmt.Errorf("it speaks %s, not HTTP/2", res.Proto)
		}
		status = res.StatusCode
	}
	if status != w.status {
		return fmt.Errorf("it answers %d, not %d", status, w.status)
	}
	return nil
}

func (w *work) url(s *server) string {
	if w.tls {
		return "https://" + s.addr + w.path
	}
	return "http://" + s.addr + w.path
}

var (
	wrkRequests  = regexp.MustCompile(`(\d+) requests in`)
	wrkOthers    = regexp.MustCompile(`Non-2xx or 3xx responses: (\d+)`)
	wrkBroken    = regexp.MustCompile(`Socket errors: connect (\d+), read (\d+), write (\d+), timeout (\d+)`)
	h2loadCounts = regexp.MustCompile(`(\d+) done, \d+ succeeded, (\d+) failed, (\d+) errored`)
	h2loadStatus = regexp.MustCompile(`status codes: (\d+) 2xx`)
)

// saturate loads a server as fast as its answers arrive and returns how many
// answers there were. At most one in a hundred may be wrong.
func (l *lab) saturate(s *server, w *work, seconds int) (n float64, err error) {
	duration, url := strconv.Itoa(seconds), w.url(s)
	var wrong float64
	if w.h2 {
		out, err := l.loader(seconds, "h2load", "-t1", "-c8", "-m8", "-D", duration, url)
		if err != nil {
			return 0, err
		}
		n = sum(h2loadStatus.FindSubmatch(out))
		counts := h2loadCounts.FindSubmatch(out)
		if counts == nil {
			return 0, fmt.Errorf("h2load printed %s", out)
		}
		done, failed := sum(counts[:2]), sum(counts[1:])
		wrong = max(done-n, failed)
	} else {
		args := []string{"-t1", "-c64", "-d" + duration + "s", url}
		if w.post {
			script, err := l.write("post.lua", fmt.Sprintf("wrk.method = \"POST\"\nwrk.body = string.rep(\"x\", %d)\n", postBody))
			if err != nil {
				return 0, err
			}
			args = append([]string{"-s", script}, args...)
		}
		out, err := l.loader(seconds, "wrk", args...)
		if err != nil {
			return 0, err
		}
		n = sum(wrkRequests.FindSubmatch(out))
		wrong = sum(wrkOthers.FindSubmatch(out))
		if w.status >= 400 {
			wrong = n - wrong
		}
		wrong += sum(wrkBroken.FindSubmatch(out))
	}
	if n == 0 {
		return 0, fmt.Errorf("no request was answered")
	}
	if wrong > n/100 {
		return 0, fmt.Errorf("of %.0f requests %.0f failed or had another status than %d", n, wrong, w.status)
	}
	return n, nil
}

// loader runs a load generator for so many seconds, and some for its start and end.
func (l *lab) loader(seconds int, name string, args ...string) (stdout []byte, err error) {
	ctx, cancel := context.WithTimeout(l.ctx, time.Duration(seconds)*time.Second+20*time.Second)
	defer cancel()
	var stderr bytes.Buffer
	cmd := exec.CommandContext(ctx, name, args...)
	cmd.Stderr = &stderr
	out, err := cmd.Output()
	if err != nil {
		return nil, fmt.Errorf("%s: %w: %s%s", name, err, out, stderr.Bytes())
	}
	return out, nil
}

// sum adds up the groups of a match, which follow its first element. It is 0
// without a match.
func sum(match [][]byte) (total float64) {
	for _, group := range match[min(1, len(match)):] {
		n, _ := strconv.ParseFloat(string(group), 64)
		total += n
	}
	return total
}

// openLoop measures the contenders once at each rate, into the report.
func (l *lab) openLoop(p *plan, r *report, contenders []*contender) {
	if len(p.rates) == 0 {
		return
	}
	for _, c := range contenders {
		l.openLoopAt(p, r, rate{text: saturation}, c)
	}
	for _, rate := range p.rates {
		for _, c := range contenders {
			l.openLoopAt(p, r, rate, c)
		}
	}
}

// saturation is the report's row for the loader that sends the next request as
// soon as a connection is free.
const saturation = "saturation"

func (l *lab) openLoopAt(p *plan, r *report, rate rate, c *contender) {
	w := allWorks()[0]
	s := c.servers[w.key]
	perSecond := rate.perSecond
	if rate.share > 0 {
		perSecond = max(1, int(rate.share*r.median(saturation, c.name, "rate")))
	}
	if s == nil || l.ctx.Err() != nil {
		return
	}
	if err := s.prepare(l.ctx, w); err != nil {
		r.fail("%s, %s: %v", rate.text, c.name, err)
		return
	}
	used := cpu(s.pid)
	m, err := l.paced(s, w, perSecond, p.seconds)
	used = cpu(s.pid) - used
	if err != nil {
		r.fail("%s, %s: %v", rate.text, c.name, err)
		return
	}
	r.add(rate.text, c.name, "rate", float64(m.Answers)/m.Elapsed.Seconds())
	r.add(rate.text, c.name, "p50", ms(m.P50))
	r.add(rate.text, c.name, "p99", ms(m.P99))
	r.add(rate.text, c.name, "p99.9", ms(m.P999))
	r.add(rate.text, c.name, "late", ms(m.Late99))
	r.add(rate.text, c.name, "cpu", perRequest(used, float64(m.Answers)))
}

func ms(d time.Duration) float64 { return float64(d) / float64(time.Millisecond) }

// paced runs our own loader as a process of its own.
func (l *lab) paced(s *server, w *work, perSecond, seconds int) (m measured, err error) {
	self, err := os.Executable()
	if err != nil {
		return m, err
	}
	out, err := l.loader(seconds, self, "load", s.addr, w.path, strconv.Itoa(perSecond), strconv.Itoa(seconds))
	if err != nil {
		return m, err
	}
	if err := json.Unmarshal(out, &m); err != nil {
		return m, err
	}
	if m.Answers == 0 || m.Failed > m.Answers/100 {
		return m, fmt.Errorf("of %d requests %d failed", m.Answers+m.Failed, m.Failed)
	}
	return m, nil
}
