package pipeline

import (
	"net/http"
	"net/netip"
	"strconv"
	"time"

	"github.com/headgate/headgate/internal/httpx"
	"github.com/headgate/headgate/policies"
)

// maintenance answers 503 while work goes on, except to the networks that the policy
// lets through.
type maintenance struct {
	allow      []netip.Prefix
	retryAfter string // seconds
	page       []byte
}

func newMaintenance(p *policies.Maintenance) *maintenance {
	m := &maintenance{
		allow:      p.Allow,
		retryAfter: strconv.FormatInt(int64(p.RetryAfter/time.Second), 10),
		page:       []byte(p.Body),
	}
	if len(m.page) == 0 {
		m.page = []byte(`<!doctype html><html lang="en"><meta charset="utf-8"><title>Back soon</title>` +
			`<body style="font:18px/1.5 system-ui,sans-serif;margin:15vh auto;max-width:32em;padding:0 1em">` +
			`<h1>Back soon</h1><p>This site is being worked on. Please try again in a few minutes.`)
	}
	return m
}

// answer is the stage.
func (m *maintenance) answer(r *Request) *Answer {
	for _, p := range m.allow {
		if p.Contains(r.Info.Addr) {
			return nil
		}
	}
	a := refuse(http.StatusServiceUnavailable, "This service is being worked on.").with("Retry-After", m.retryAfter)
	if httpx.IsBrowser(r.Header) {
		a.form, a.body, a.contentType = asPage, m.page, "text/html; charset=utf-8"
		a.with("Cache-Control", "no-store")
	}
	return a
}
