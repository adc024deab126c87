package replay

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"slices"
	"time"

	"github.com/headgate/headgate/gateway/replay/logs"
	"github.com/headgate/headgate/policies"
)

// Options says what to replay, and under which policy. Policy and Logs are required.
type Options struct {
	// Policy is the policy to try; Name is what the report calls it.
	Policy *policies.Policy
	Name   string
	// Against, if set, is the policy that Policy is compared with.
	Against     *policies.Policy
	AgainstName string

	// Logs are merged by time.
	Logs []logs.Log
	// Format is the format of all logs. With logs.Auto, or "", each log's is found out from its first lines.
	Format logs.Format
	// Host is the host of requests whose log does not have it. If it is empty, routes that name a host
	// match none of these requests.
	Host string
	// Scheme is http or https, which decides the default port of a host. "" means https.
	Scheme string
	// AssumeTTL is how long the origin lets responses be cached where the cache
	// rule leaves that to the origin; logs do not have it. 0 means not at all.
	AssumeTTL time.Duration
	// Reorder is how many records are held back, over all logs together, to put them in the order of
	// their times. 0 means 65536. Each log gets at least 1024.
	Reorder int
	// Top is how many clients and paths are listed. 0 means 10.
	Top int
	// Progress, if set, is called about every 100 ms, by the goroutine that called Run.
	Progress func(Progress)
}

// Progress is how far a replay has read its logs.
type Progress struct {
	Lines int64
	Read  int64 // bytes of the files, compressed or not
	Total int64 // bytes of the files; 0 if the size of one is not known
}

const (
	defaultReorder = 65536
	minReorder     = 1024
	defaultTop     = 10
)

func (o *Options) withDefaults() error {
	switch {
	case o.Policy == nil:
		return errors.New("replay: Options.Policy is missing")
	case len(o.Logs) == 0:
		return errors.New("replay: there is no log to replay")
	case o.Reorder < 0 || o.Top < 0 || o.AssumeTTL < 0:
		return errors.New("replay: Reorder, Top and AssumeTTL must not be negative")
	case o.Format != "" && !slices.Contains(logs.Formats(), o.Format):
		return fmt.Errorf("replay: there is no format %q", o.Format)
	}
	if o.Scheme == "" {
		o.Scheme = "https"
	}
	if o.Reorder == 0 {
		o.Reorder = defaultReorder
	}
	if o.Top == 0 {
		o.Top = defaultTop
	}
	return nil
}

// Run replays logs under a policy, or two, and reports what each would have done.
// It fails if a log cannot be read, or none of a log's lines can be parsed. Its memory is
// bounded, whatever the logs hold. When it fails, or ctx ends, it does not wait for
// a read that blocks, such as one of standard input: the goroutine of that log ends when the read does.
func Run(ctx context.Context, o Options) (*Report, error) {
	if err := o.withDefaults(); err != nil {
		return nil, err
	}
	rp, err := newReplayer(o)
	if err != nil {
		return nil, err
	}
	defer rp.close()

	ctx, cancel := context.WithCancel(ctx)
	defer cancel() // after an error, ends the sources that are still reading
	var p progress
	window := max(o.Reorder/len(o.Logs), minReorder)
	sources := make([]*source, len(o.Logs))
	for i, log := range o.Logs {
		sources[i] = startSource(ctx, log, o.Format, window, &p)
	}
	var shown time.Time
	err = merge(ctx, sources, func(r *logs.Record) {
		rp.add(r)
		if o.Progress != nil && rp.report.Requests%1024 == 0 && time.Since(shown) > 100*time.Millisecond {
			shown = time.Now()
			o.Progress(p.now())
		}
	})
	if err != nil {
		return nil, err
	}
	if o.Progress != nil {
		o.Progress(p.now())
	}
	return rp.finish(sources)
}

func (p *progress) now() Progress {
	now := Progress{Lines: p.lines.Load(), Read: p.read.Load(), Total: p.total.Load()}
	if p.open.Load() {
		now.Total = 0
	}
	return now
}

// replayer runs one policy, or two, over records in the order of their times.
type replayer struct {
	options Options
	report  Report
	policy  *tally
	against *tally  // nil without one
	differ  *differ // nil without one
	agents  agents
	first   int64
	last    int64
	refused int64 // requests that a network's denial or block refused live
}

func newReplayer(o Options) (*replayer, error) {
	e, err := newEngine(o.Policy, o)
	if err != nil {
		return nil, err
	}
	rp := &replayer{options: o, policy: newTally(e, o.Name, o.Top)}
	if o.Against != nil {
		if e, err = newEngine(o.Against, o); err != nil {
			rp.close()
			return nil, err
		}
		rp.against = newTally(e, o.AgainstName, o.Top)
		rp.differ = newDiffer(rp.against, rp.policy)
	}
	return rp, nil
}

func (rp *replayer) close() {
	rp.policy.engine.close()
	if rp.against != nil {
		rp.against.engine.close()
	}
}

// add runs a record through the policies and counts the verdicts.
func (rp *replayer) add(r *logs.Record) {
	if rp.report.Requests == 0 {
		rp.first, rp.last = r.At, r.At
	}
	rp.report.Requests++
	rp.first, rp.last = min(rp.first, r.At), max(rp.last, r.At)
	rp.addAgent(r)
	if r.Own != nil && r.Own.DeniedNetwork {
		rp.refused++
	}

	v := rp.policy.engine.decide(r)
	client := rp.policy.add(r, &v)
	rp.report.Live.add(r, v.outcome == denied)
	if rp.against != nil {
		old := rp.against.engine.decide(r)
		rp.against.add(r, &old)
		rp.differ.add(&old, &v, client)
	}
}

func (rp *replayer) addAgent(r *logs.Record) {
	b := &rp.report.Bots
	kind := rp.agents.kind(r)
	if kind != agentUnknown {
		b.Known++
	}
	switch kind {
	case agentDeclared:
		b.Declared++
	case agentTool:
		b.Tools++
	case agentEmpty:
		b.Empty++
	}
}

func (l *Live) add(r *logs.Record, denied bool) {
	live := r.Status == http.StatusTooManyRequests
	if r.Own != nil {
		live = r.Own.Limit != ""
	}
	switch {
	case live && denied:
		l.Both++
	case live:
		l.OnlyLive++
	case denied:
		l.OnlyReplay++
	}
	if live {
		l.Denied++
	}
}

// finish returns the report.
func (rp *replayer) finish(sources []*source) (*Report, error) {
	r := &rp.report
	for _, s := range sources {
		r.Logs = append(r.Logs, s.summary)
	}
	for _, l := range r.Logs {
		if l.BadLines > 0 && l.BadLines == l.Lines {
			return nil, fmt.Errorf("%s: none of its %d lines can be read as %s; the first one is %s: %s",
				l.Name, l.Lines, l.Format, l.Bad[0].Text, l.Bad[0].Reason)
		}
	}
	if r.Requests > 0 {
		r.First, r.Last = timeOf(rp.first), timeOf(rp.last)
	}
	r.Clients, r.AtLeast = rp.policy.clients.seen, rp.policy.clients.dropped
	r.Policy = rp.policy.result()
	if rp.against != nil {
		against := rp.against.result()
		r.Against = &against
		r.Diff = rp.differ.result()
	}
	r.Notes = rp.notes()
	return r, nil
}
