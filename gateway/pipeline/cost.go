package pipeline

import (
	"fmt"
	"net/http"
	"strconv"

	"github.com/headgate/headgate/gateway/observe"
	"github.com/headgate/headgate/middleware/ratelimit"
	"github.com/headgate/headgate/middleware/session"
)

// headerCost is what the app server says that the request has cost, in the place of the
// limits' own cost: Headgate-Cost: 12. It is consumed with the others of its kind.
const headerCost = "Headgate-Cost"

// costOf reads the cost that the app server's answer names. Its error means 502.
func costOf(h http.Header) (cost int64, named bool, err error) {
	lines := h[headerCost]
	if len(lines) == 0 {
		return 0, false, nil
	}
	if len(lines) > 1 {
		return 0, false, fmt.Errorf("%w: %s %d times", session.ErrMalformed, headerCost, len(lines))
	}
	n, err := strconv.ParseUint(lines[0], 10, 63)
	if err != nil || n > ratelimit.MaxRequests || lines[0][0] == '+' {
		return 0, false, fmt.Errorf("%w: %s is not an integer from 0 to %d", session.ErrMalformed, headerCost, ratelimit.MaxRequests)
	}
	return int64(n), true, nil
}

// correctCost has the limits charge what the app server says. Where a fetch of the cache runs
// on a goroutine of its own, the request finds the cost when it settles, or at its end.
func (r *Request) correctCost(cost int64) {
	r.cost.Store(cost + 1)
	if r.Route.fetchesApart() || r.reserved != nil || r.Limits == nil {
		return
	}
	r.reserved = r.Limits
	res := r.echo.Response()
	res.Before(func() { r.settle(res.Status, res.Header()) })
}

// correctedCost is the cost that the app server has named for this request. An answer that
// was stored before, even if it is refreshed meanwhile, has none.
func (r *Request) correctedCost() (cost int64, named bool) {
	n := r.cost.Load()
	if n == 0 {
		return 0, false
	}
	switch observe.CacheOutcome(r.echo.Response().Header()) {
	case "hit", "stale":
		return 0, false
	}
	return n - 1, true
}
