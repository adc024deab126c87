package main

import (
	"context"
	"fmt"
	"slices"
	"strings"
	"sync"
	"time"
)

// check is one question about a limit. It asks as a client that is new to the gateway.
type check struct {
	name string
	ask  func(ctx context.Context, c *asker) (result, error)
}

// checks are all of them, in the order in which they are printed.
var checks = []check{
	{"burst", burst},
	{"sustained", sustained},
	{"denied-costs-nothing", deniedCostsNothing},
	{"retry-after", retryAfterHolds},
	{"at-the-rate", atTheRate},
	{"forged-address", forgedAddress},
}

// result is what a check has found.
type result struct {
	Check   string  `json:"check"`
	Verdict verdict `json:"verdict"`
	Found   string  `json:"found"`
	Allowed string  `json:"allowed"`
}

type verdict string

const (
	passed  verdict = "ok"
	failed  verdict = "FAILED"
	skipped verdict = "skip"
)

func when(ok bool) verdict {
	if ok {
		return passed
	}
	return failed
}

// choose returns the checks of these names.
func choose(names string) ([]check, error) {
	if names == "" {
		return checks, nil
	}
	var chosen []check
	for name := range strings.SplitSeq(names, ",") {
		i := slices.IndexFunc(checks, func(c check) bool { return c.name == name })
		if i < 0 {
			return nil, fmt.Errorf("-only %s is no check", name)
		}
		chosen = append(chosen, checks[i])
	}
	return chosen, nil
}

// runChecks runs checks: at once where each has a client of its own, otherwise in turn.
func runChecks(ctx context.Context, t *target, l limit, chosen []check) ([]result, error) {
	results, errs := make([]result, len(chosen)), make([]error, len(chosen))
	one := func(i int) {
		c := &asker{target: t, limit: l, client: fmt.Sprintf("exactness-%d-%s", time.Now().UnixNano(), chosen[i].name)}
		results[i], errs[i] = chosen[i].ask(ctx, c)
		results[i].Check = chosen[i].name
	}
	var all sync.WaitGroup
	for i := range chosen {
		if t.header != "" {
			all.Go(func() { one(i) })
			continue
		}
		if i > 0 {
			if err := sleep(ctx, 2*l.window+time.Second); err != nil {
				return nil, err
			}
		}
		one(i)
	}
	all.Wait()
	for i, err := range errs {
		if err != nil {
			return nil, fmt.Errorf("%s: %w", chosen[i].name, err)
		}
	}
	return results, nil
}

func sleep(ctx context.Context, d time.Duration) error {
	select {
	case <-ctx.Done():
		return ctx.Err()
	case <-time.After(d):
		return nil
	}
}

// asker asks as one client.
type asker struct {
	*target
	limit  limit
	client string
}

// crowd sends n requests by so many callers at once.
func (c *asker) crowd(ctx context.Context, n, callers int) (tally, error) {
	var mu sync.Mutex
	var all tally
	var first error
	next := make(chan struct{}, n)
	for range n {
		next <- struct{}{}
	}
	close(next)
	var done sync.WaitGroup
	for range callers {
		done.Go(func() {
			for range next {
				a, err := c.ask(ctx, c.client)
				mu.Lock()
				all = append(all, a)
				if first == nil {
					first = err
				}
				stop := first != nil
				mu.Unlock()
				if stop {
					return
				}
			}
		})
	}
	done.Wait()
	return all, first
}

// pace sends requests at even distances for a time, each on a goroutine of its own, so that a slow
// answer delays none behind it.
func (c *asker) pace(ctx context.Context, every, lasts time.Duration) (tally, error) {
	var mu sync.Mutex
	var all tally
	var first error
	var done sync.WaitGroup
	begin := time.Now()
	for at := time.Duration(0); at < lasts; at += every {
		if err := sleep(ctx, time.Until(begin.Add(at))); err != nil {
			return nil, err
		}
		done.Go(func() {
			a, err := c.ask(ctx, c.client)
			mu.Lock()
			defer mu.Unlock()
			all = append(all, a)
			if first == nil {
				first = err
			}
		})
	}
	done.Wait()
	return all, first
}

// burst: twice the limit and more come at once, over all instances. As many are admitted as the
// limit says, not one more, and not one less.
func burst(ctx context.Context, c *asker) (result, error) {
	n := c.limit.atOnce()
	all, err := c.crowd(ctx, 2*n+20, 32)
	if err != nil {
		return result{}, err
	}
	took := time.Duration(0)
	for _, a := range all {
		took = max(took, a.answered.Sub(all[0].sent))
	}
	got, most := all.admitted(), n
	if took >= c.limit.window || c.limit.algorithm == "token_bucket" {
		most = c.limit.most(took) // what came back meanwhile is rightly admitted
	}
	return result{
		Verdict: when(got >= n && got <= most),
		Found:   fmt.Sprintf("%d of %d at once were admitted, in %v", got, len(all), took.Round(time.Millisecond)),
		Allowed: fmt.Sprintf("%d to %d", n, most),
	}, nil
}

// sustained: half as much again as the limit, evenly, for three windows. No span of a window's
// length sees more than the algorithm says, and the client gets 0.9 of its limit.
func sustained(ctx context.Context, c *asker) (result, error) {
	const windows = 3
	every := c.limit.window * 2 / 3 / time.Duration(c.limit.requests)
	all, err := c.pace(ctx, every, windows*c.limit.window)
	if err != nil {
		return result{}, err
	}
	got, densest := all.admitted(), all.densest(c.limit.window)
	most, least := c.limit.most(c.limit.window), windows*c.limit.requests*9/10
	return result{
		Verdict: when(densest <= most && got >= least),
		Found:   fmt.Sprintf("%d of %d were admitted in %d windows, %d of them within one span of a window's length", got, len(all), windows, densest),
		Allowed: fmt.Sprintf("%d or more, and %d within such a span", least, most),
	}, nil
}

// deniedCostsNothing: a client that is denied goes on asking for a window and more. What it was
// denied must not keep it out: it gets what it would have got anyway.
func deniedCostsNothing(ctx context.Context, c *asker) (result, error) {
	if _, err := c.crowd(ctx, c.limit.atOnce()+10, 16); err != nil {
		return result{}, err
	}
	// Three times the limit, so that who counts denials never admits again.
	every := c.limit.window / time.Duration(3*c.limit.requests)
	all, err := c.pace(ctx, every, 2*c.limit.window+c.limit.window/2)
	if err != nil {
		return result{}, err
	}
	got, least := all.admitted(), c.limit.requests*9/10
	return result{
		Verdict: when(got >= least),
		Found:   fmt.Sprintf("%d of %d were admitted to a client that kept asking for 2.5 windows after its limit", got, len(all)),
		Allowed: fmt.Sprintf("%d or more", least),
	}, nil
}

// retryAfterHolds: a denial says when to come back, and who comes then is admitted.
func retryAfterHolds(ctx context.Context, c *asker) (result, error) {
	denied, err := c.untilDenied(ctx)
	if err != nil {
		return result{}, err
	}
	r := result{Allowed: "Retry-After on the 429, and admission by then"}
	switch {
	case denied == nil:
		r.Verdict, r.Found = failed, "never denied"
		return r, nil
	case !denied.hasRetryAfter:
		r.Verdict, r.Found = failed, "the 429 has no Retry-After"
		return r, nil
	case denied.retryAfter > 3*c.limit.window+time.Second:
		r.Verdict, r.Found = failed, fmt.Sprintf("Retry-After is %v for a window of %v", denied.retryAfter, c.limit.window)
		return r, nil
	}
	if err := sleep(ctx, time.Until(denied.answered.Add(denied.retryAfter))); err != nil {
		return r, err
	}
	a, err := c.ask(ctx, c.client)
	if err != nil {
		return r, err
	}
	outcome := "denied again"
	if a.admitted {
		outcome = "admitted"
	}
	r.Verdict, r.Found = when(a.admitted), fmt.Sprintf("Retry-After said %v, and who came then was %s", denied.retryAfter, outcome)
	return r, nil
}

// untilDenied asks until it is denied, at most three times the limit.
func (c *asker) untilDenied(ctx context.Context) (*answer, error) {
	for range 3*c.limit.atOnce() + 10 {
		a, err := c.ask(ctx, c.client)
		if err != nil {
			return nil, err
		}
		if !a.admitted {
			return &a, nil
		}
	}
	return nil, nil
}

// atTheRate: a client that asks a little slower than its limit is not denied.
func atTheRate(ctx context.Context, c *asker) (result, error) {
	every := c.limit.window * 21 / 20 / time.Duration(c.limit.requests)
	all, err := c.pace(ctx, every, 3*c.limit.window)
	if err != nil {
		return result{}, err
	}
	denied := len(all) - all.admitted()
	return result{
		Verdict: when(denied == 0),
		Found:   fmt.Sprintf("%d of %d were denied to a client that kept 5 %% below its limit", denied, len(all)),
		Allowed: "none",
	}, nil
}

// forgedAddress: a client that is denied names other addresses as its own, in the header fields
// that proxies use. It stays denied.
func forgedAddress(ctx context.Context, c *asker) (result, error) {
	r := result{Allowed: "none"}
	if c.header != "" {
		r.Verdict, r.Found = skipped, "clients are told by a header here; run it with -identity ip"
		return r, nil
	}
	if denied, err := c.untilDenied(ctx); err != nil || denied == nil {
		r.Verdict, r.Found = failed, "never denied"
		return r, err
	}
	begin := time.Now()
	var tried, passedBy []string
	for i, name := range []string{"X-Forwarded-For", "Forwarded", "X-Real-IP", "X-Client-IP", "CF-Connecting-IP", "True-Client-IP", "X-Originating-IP"} {
		value := fmt.Sprintf("198.51.100.%d", i+1)
		if name == "Forwarded" {
			value = "for=" + value
		}
		a, err := c.ask(ctx, c.client, name, value)
		if err != nil {
			return r, err
		}
		tried = append(tried, name)
		if a.admitted {
			passedBy = append(passedBy, name)
		}
	}
	back := 1 + int(float64(c.limit.requests)*float64(time.Since(begin))/float64(c.limit.window))
	r.Verdict = when(len(passedBy) <= back)
	r.Found = fmt.Sprintf("%d of %d forged addresses were admitted: %s", len(passedBy), len(tried), strings.Join(passedBy, ", "))
	r.Allowed = fmt.Sprintf("at most %d, since some of the limit comes back", back)
	return r, nil
}
