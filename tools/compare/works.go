//go:build linux

package main

import (
	"fmt"
	"os/exec"
	"slices"
	"strconv"
	"strings"
)

// work is one kind of request, loaded in a closed loop: a row of the table.
type work struct {
	key, name string
	path      string
	status    int  // that the answers must have
	post      bool // a body of postBody bytes goes with each request
	tls       bool
	h2        bool
	spend     int // requests to send first, so that a limit is used up or a cache filled
}

const postBody = 10 << 10

func allWorks() []*work {
	return []*work{
		{key: "1k", name: "proxied, 1 KiB", path: "/plain", status: 200},
		{key: "16k", name: "proxied, 16 KiB", path: "/16k", status: 200},
		{key: "1m", name: "proxied, 1 MiB", path: "/1m", status: 200},
		{key: "post", name: "proxied, POST of 10 KiB", path: "/post", status: 200, post: true},
		{key: "https", name: "proxied, 1 KiB, HTTPS", path: "/plain", status: 200, tls: true},
		{key: "h2", name: "proxied, 1 KiB, HTTP/2", path: "/plain", status: 200, tls: true, h2: true},
		{key: "limited", name: "under a limit, each instance alone", path: "/limited", status: 200},
		{key: "redis", name: "under a limit in Redis (nginx, Traefik: each alone)", path: "/limited", status: 200},
		{key: "429", name: "a known abuser's 429", path: "/denied", status: 429, spend: 20},
		{key: "429log", name: "the same, where nginx logs each (its default)", path: "/denied", status: 429, spend: 20},
		{key: "hit", name: "cached hit", path: "/cached", status: 200, spend: 5},
	}
}

func workKeys() (keys []string) {
	for _, w := range allWorks() {
		keys = append(keys, w.key)
	}
	return keys
}

func parseWorks(list string) (works []*work, err error) {
	switch list {
	case "all":
		return allWorks(), nil
	case "none":
		return nil, nil
	}
	for key := range strings.SplitSeq(list, ",") {
		at := slices.Index(workKeys(), key)
		if at < 0 {
			return nil, fmt.Errorf("-works: %q is none of %s", key, strings.Join(workKeys(), ", "))
		}
		works = append(works, allWorks()[at])
	}
	return works, nil
}

// rate is a number of requests per second, or a share of saturation.
type rate struct {
	text      string
	perSecond int
	share     float64 // where perSecond is 0
}

func parseRates(list string) (rates []rate, err error) {
	if list == "none" {
		return nil, nil
	}
	for text := range strings.SplitSeq(list, ",") {
		number, percent := strings.CutSuffix(text, "%")
		n, err := strconv.Atoi(number)
		if err != nil || n < 1 || percent && n > 100 {
			return nil, fmt.Errorf("-rates: %q is neither a number of requests per second nor a percentage", text)
		}
		if percent {
			rates = append(rates, rate{text: fmt.Sprintf("%d %% of saturation", n), share: float64(n) / 100})
		} else {
			rates = append(rates, rate{text: fmt.Sprintf("%d/s", n), perSecond: n})
		}
	}
	return rates, nil
}

// leaveOutMissing takes the works out of the plan whose loader or Redis is not
// on this machine, and says so in the report.
func (p *plan) leaveOutMissing(r *report) {
	needs := func(program, debian string, affected func(*work) bool) {
		if _, err := exec.LookPath(program); err == nil || !slices.ContainsFunc(p.works, affected) {
			return
		}
		r.note("%s is missing (`apt-get install %s`): the works that need it are left out", program, debian)
		p.works = slices.DeleteFunc(p.works, affected)
	}
	needs("wrk", "wrk", func(w *work) bool { return !w.h2 })
	needs("h2load", "nghttp2-client", func(w *work) bool { return w.h2 })
	needs("redis-server", "redis-server", func(w *work) bool { return w.key == "redis" })
}
