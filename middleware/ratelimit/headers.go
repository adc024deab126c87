package ratelimit

import (
	"net/http"
	"strconv"
	"strings"
	"time"

	"github.com/dunglas/httpsfv"
)

// HeaderStyle says how clients are told of their limits.
type HeaderStyle string

const (
	// HeadersDraft writes RateLimit-Policy and RateLimit, as
	// draft-ietf-httpapi-ratelimit-headers-10 says. The default.
	HeadersDraft HeaderStyle = "draft"
	// HeadersLegacy writes X-RateLimit-Limit, -Remaining and -Reset (Unix time,
	// seconds) of the limit that is nearest to its end.
	HeadersLegacy HeaderStyle = "legacy"
	// HeadersOff writes none; a 429 still has its Retry-After.
	HeadersOff HeaderStyle = "off"
)

// Values lists the styles.
func (HeaderStyle) Values() []string {
	return []string{string(HeadersDraft), string(HeadersLegacy), string(HeadersOff)}
}

// fieldItem is a limit as it stands in the header fields. What does not change
// is serialised once, with the structured-fields library; a request adds two
// integers.
type fieldItem struct {
	policy string // "per-ip";q=100;w=60
	name   string // "per-ip"
	dryRun bool
	noTime bool // requests in flight: no window, and no time at which one ends
}

func newFieldItem(l Limit, q quota) fieldItem {
	policy := httpsfv.NewItem(l.Name)
	policy.Params.Add("q", q.requests)
	if l.Concurrent > 0 {
		policy.Params.Add("qu", "concurrent-requests")
	} else {
		policy.Params.Add("w", Seconds(l.Window))
	}
	if q.requests > 0 && q.burst > 0 && q.burst != q.requests {
		policy.Params.Add("burst", q.burst)
	}
	if l.DryRun {
		policy.Params.Add("dry-run", true)
	}
	return fieldItem{policy: mustMarshal(policy), name: mustMarshal(httpsfv.NewItem(l.Name)), dryRun: l.DryRun, noTime: l.Concurrent > 0}
}

// mustMarshal serialises what Validate has let through: a short ASCII name and
// integers of at most 15 digits.
func mustMarshal(i httpsfv.Item) string {
	s, err := httpsfv.Marshal(i)
	if err != nil {
		panic(err)
	}
	return s
}

// appendTo appends the item as it stands in RateLimit.
func (f fieldItem) appendTo(b []byte, d *Decision) []byte {
	b = append(b, f.name...)
	b = append(b, ";r="...)
	b = strconv.AppendInt(b, d.Remaining, 10)
	if !d.Closed && !f.noTime { // the first never ends, the second at any moment
		b = append(b, ";t="...)
		b = strconv.AppendInt(b, Seconds(max(d.Reset, d.RetryAfter)), 10)
	}
	if f.dryRun {
		b = append(b, ";dry-run"...)
	}
	return b
}

// Seconds rounds a duration up to whole seconds, as Retry-After and the
// RateLimit field give them: after that many seconds the wait is over, after one
// less it is not.
func Seconds(d time.Duration) int64 {
	if d <= 0 {
		return 0
	}
	return int64((d + time.Second - 1) / time.Second)
}

// WriteHeaders adds the fields of the limits that apply, in the Limiter's
// style. It adds to fields of these names that h has already: an app's own fields
// are about other limits.
func (r *Result) WriteHeaders(h http.Header) {
	switch r.limiter.headers {
	case HeadersDraft:
		r.writeDraft(h)
	case HeadersLegacy:
		r.writeLegacy(h)
	}
}

func (r *Result) writeDraft(h http.Header) {
	if len(r.items) == 0 {
		return
	}
	var space [192]byte
	state := space[:0]
	usual := !r.attempt && len(r.items) == len(r.limiter.limits)-r.limiter.byAccount
	for i := range r.items {
		it := &r.items[i]
		usual = usual && it.variant == &it.limit.base
		if it.decided {
			if len(state) > 0 {
				state = append(state, ", "...)
			}
			state = it.header.appendTo(state, &it.Decision)
		}
	}
	switch {
	case usual && h["Ratelimit-Policy"] == nil:
		h["Ratelimit-Policy"] = r.limiter.policy
	case usual:
		addField(h, "Ratelimit-Policy", r.limiter.policy[0])
	default:
		addField(h, "Ratelimit-Policy", policyOf(r.items))
	}
	switch {
	case len(state) == 0:
	case h["Ratelimit"] == nil:
		r.field[0] = string(state)
		h["Ratelimit"] = r.field[:1:1]
	default:
		addField(h, "Ratelimit", string(state))
	}
}

// policyOf is RateLimit-Policy for limits of which some do not apply, or not at
// their usual size.
func policyOf(items []item) string {
	var b strings.Builder
	for i := range items {
		if i > 0 {
			b.WriteString(", ")
		}
		b.WriteString(items[i].header.policy)
	}
	return b.String()
}

func (r *Result) writeLegacy(h http.Header) {
	var tightest *item
	for i := range r.items {
		it := &r.items[i]
		if it.decided && !it.leased() && !it.limit.DryRun && (tightest == nil || it.vetoes() && !tightest.vetoes() ||
			it.vetoes() == tightest.vetoes() && it.Remaining < tightest.Remaining) {
			tightest = it
		}
	}
	if tightest == nil {
		return
	}
	if r.attempt { // what the admission has written tells of fewer limits
		for _, name := range []string{"X-Ratelimit-Limit", "X-Ratelimit-Remaining", "X-Ratelimit-Reset"} {
			delete(h, name)
		}
	}
	addField(h, "X-Ratelimit-Limit", strconv.FormatInt(tightest.Limit, 10))
	addField(h, "X-Ratelimit-Remaining", strconv.FormatInt(tightest.Remaining, 10))
	if !tightest.Closed {
		reset := r.limiter.counters.now().Add(tightest.Reset + time.Second - 1).Unix()
		addField(h, "X-Ratelimit-Reset", strconv.FormatInt(reset, 10))
	}
}

// addField is Header.Add for a name in canonical form.
func addField(h http.Header, name, value string) { h[name] = append(h[name], value) }
