package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"strconv"
	"strings"
	"sync/atomic"
	"time"
)

// target is the instances of a gateway.
type target struct {
	urls   []string
	header string // whose value says who a client is; empty: the address does
	client *http.Client
	turn   atomic.Int64
}

func newTarget(urls []string, identity string) (*target, error) {
	t := &target{urls: urls, client: &http.Client{
		Timeout:       30 * time.Second,
		Transport:     &http.Transport{MaxIdleConnsPerHost: 256, DisableCompression: true},
		CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse },
	}}
	if len(urls) == 0 {
		return nil, errors.New("no -url: name the gateway's instances")
	}
	for _, u := range urls {
		if _, err := http.NewRequest(http.MethodGet, u, nil); err != nil || !strings.HasPrefix(u, "http") {
			return nil, fmt.Errorf("-url %s is no http or https URL", u)
		}
	}
	if name, ok := strings.CutPrefix(identity, "header:"); ok && name != "" {
		t.header = name
	} else if identity != "ip" {
		return nil, fmt.Errorf("-identity %s is unknown; use ip or header:NAME", identity)
	}
	return t, nil
}

// answer is what became of one request.
type answer struct {
	sent, answered time.Time
	admitted       bool
	retryAfter     time.Duration
	hasRetryAfter  bool
}

// ask sends a request of a client to the next instance. extra are more header fields, names and
// values. An error is any answer but a success and a 429.
func (t *target) ask(ctx context.Context, client string, extra ...string) (answer, error) {
	url := t.urls[int(t.turn.Add(1))%len(t.urls)]
	r, err := http.NewRequestWithContext(ctx, http.MethodGet, url, nil)
	if err != nil {
		return answer{}, err
	}
	if t.header != "" {
		r.Header.Set(t.header, client)
	}
	for i := 0; i+1 < len(extra); i += 2 {
		r.Header.Set(extra[i], extra[i+1])
	}
	a := answer{sent: time.Now()}
	resp, err := t.client.Do(r)
	if err != nil {
		return a, err
	}
	_, _ = io.Copy(io.Discard, resp.Body)
	_ = resp.Body.Close()
	a.answered = time.Now()
	switch {
	case resp.StatusCode < 400:
		a.admitted = true
	case resp.StatusCode == http.StatusTooManyRequests:
		a.retryAfter, a.hasRetryAfter = retryAfter(resp.Header.Get("Retry-After"), a.answered)
	default:
		return a, fmt.Errorf("%s answers %s, where 200 or 429 was expected", url, resp.Status)
	}
	return a, nil
}

// retryAfter reads the field of that name (RFC 9110, section 10.2.3).
func retryAfter(value string, now time.Time) (time.Duration, bool) {
	if s, err := strconv.Atoi(value); err == nil && s >= 0 {
		return time.Duration(s) * time.Second, true
	}
	if at, err := http.ParseTime(value); err == nil {
		return max(0, at.Sub(now)), true
	}
	return 0, false
}
