package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"github.com/headgate/headgate/gateway/server"
	"github.com/headgate/headgate/internal/redistest"
	"github.com/headgate/headgate/policies"
)

const callers = 64

// common is the policy's part that all rows have.
const common = `version: 1
server: {listen: "127.0.0.1:0", admin: {listen: "127.0.0.1:0"}, access_log: off, trusted_proxies: [127.0.0.1/32]}
redis: {url: "%s", timeout: 5s, write_timeout: 5s, cache_bytes: 4GiB}
upstreams: {app: {servers: ["%s"]}}
`

// cost is what one of a row takes.
type cost struct {
	bytes  string
	micros float64
}

// lab is what a row is measured on.
type lab struct {
	redis   *redistest.Server
	urls    []string
	client  *http.Client
	cookies []string // that the first requests were given
	close   []func()
}

func measure(ctx context.Context, r row, n int) (cost, error) {
	l, err := newLab(ctx, r)
	if err != nil {
		return cost{}, err
	}
	defer l.end()
	l.cookies = make([]string, n)
	if r.first != nil {
		if err := l.sendAll(ctx, r.first, n, 0, http.StatusOK); err != nil {
			return cost{}, err
		}
	}
	time.Sleep(time.Second) // what the gateway does once is done
	memory, cpu, err := l.spent(ctx)
	if err != nil {
		return cost{}, err
	}
	// The instance after the one that was asked first.
	if err := l.sendAll(ctx, r.request, n, len(l.urls)-1, r.want); err != nil {
		return cost{}, err
	}
	time.Sleep(time.Second) // what it does behind a request is done
	memoryAfter, cpuAfter, err := l.spent(ctx)
	if err != nil {
		return cost{}, err
	}
	c := cost{bytes: "", micros: (cpuAfter - cpu) * 1e6 / float64(n)}
	if r.grows {
		c.bytes = strconv.FormatInt((memoryAfter-memory)/int64(n), 10)
	}
	return c, nil
}

func newLab(ctx context.Context, r row) (_ *lab, err error) {
	l := &lab{client: &http.Client{Transport: &http.Transport{MaxIdleConnsPerHost: callers, DisableCompression: true}}}
	defer func() {
		if err != nil {
			l.end()
		}
	}()
	body := strings.Repeat("x", 1024)
	app := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if r.URL.Path == "/login" {
			w.Header().Set("Headgate-Login", r.URL.Query().Get("user"))
		}
		_, _ = io.WriteString(w, body)
	}))
	l.close = append(l.close, app.Close, l.client.CloseIdleConnections)
	if l.redis, err = redistest.Launch(ctx); err != nil {
		return nil, err
	}
	l.close = append(l.close, l.redis.Close)
	for range max(1, r.instances) {
		text := fmt.Sprintf(common, l.redis.URL, app.URL) + r.policy
		p, problems := policies.Parse("capacity.yaml", []byte(text), policies.LoadOptions{})
		if problems.HasErrors() {
			return nil, fmt.Errorf("%v", problems)
		}
		s, err := server.New(server.Options{Policy: p, Logger: slog.New(slog.DiscardHandler)})
		if err != nil {
			return nil, err
		}
		if err := s.Start(); err != nil {
			return nil, err
		}
		l.close = append(l.close, func() {
			ctx, cancel := context.WithTimeout(context.Background(), 10*time.Second)
			defer cancel()
			s.Shutdown(ctx)
		})
		l.urls = append(l.urls, "http://"+s.Addr())
	}
	return l, nil
}

func (l *lab) end() {
	for i := range l.close {
		l.close[len(l.close)-1-i]()
	}
}

// spent returns Redis' memory, and its CPU time in seconds.
func (l *lab) spent(ctx context.Context) (memory int64, cpu float64, err error) {
	text, err := l.redis.Client.Info(ctx, "memory", "cpu").Result()
	if err != nil {
		return 0, 0, err
	}
	var user, system float64
	var errs []error
	for line := range strings.Lines(text) {
		name, value, _ := strings.Cut(strings.TrimSpace(line), ":")
		switch name {
		case "used_memory":
			memory, err = strconv.ParseInt(value, 10, 64)
		case "used_cpu_user":
			user, err = strconv.ParseFloat(value, 64)
		case "used_cpu_sys":
			system, err = strconv.ParseFloat(value, 64)
		}
		errs = append(errs, err)
	}
	return memory, user + system, errors.Join(errs...)
}

// sendAll sends n requests by all callers, the i-th with the cookie that the i-th was given before.
func (l *lab) sendAll(ctx context.Context, request func(i int) (string, string, http.Header), n, instance, want int) error {
	ctx, cancel := context.WithCancelCause(ctx)
	defer cancel(nil)
	var next atomic.Int64
	var all sync.WaitGroup
	for range callers {
		all.Go(func() {
			for i := int(next.Add(1)) - 1; i < n && ctx.Err() == nil; i = int(next.Add(1)) - 1 {
				if err := l.send(ctx, request, i, instance, want); err != nil {
					cancel(err)
				}
			}
		})
	}
	all.Wait()
	return context.Cause(ctx)
}

func (l *lab) send(ctx context.Context, request func(i int) (string, string, http.Header), i, instance, want int) error {
	method, target, header := request(i)
	r, err := http.NewRequestWithContext(ctx, method, l.urls[instance]+target, nil)
	if err != nil {
		return err
	}
	for name, values := range header {
		r.Header[name] = values
	}
	if l.cookies[i] != "" {
		r.Header.Set("Cookie", l.cookies[i])
	}
	resp, err := l.client.Do(r)
	if err != nil {
		return err
	}
	text, err := io.ReadAll(resp.Body)
	_ = resp.Body.Close()
	if err != nil {
		return err
	}
	if resp.StatusCode != want {
		return fmt.Errorf("%s %s: %s, not %d: %.200s", method, target, resp.Status, want, text)
	}
	if cookie, _, _ := strings.Cut(resp.Header.Get("Set-Cookie"), ";"); cookie != "" {
		l.cookies[i] = cookie
	}
	return nil
}
