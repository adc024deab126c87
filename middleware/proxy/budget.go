package proxy

import "sync/atomic"

const (
	// RetryReserve is how many retries an upstream may make before it has
	// forwarded any request, and the most that it accumulates: over any period
	// there are at most RetryReserve retries plus RetryBudget's share of the
	// requests. It covers the requests in flight on a server that crashes.
	RetryReserve = 100

	milli = 1000
)

// budget is a token bucket in thousandths of a retry: each request adds a share
// of a retry, each retry takes one.
type budget struct {
	spent atomic.Int64 // how much is missing from a full bucket
}

// earn credits one request's share of a retry.
func (b *budget) earn(share float64) {
	for {
		spent := b.spent.Load()
		if spent == 0 {
			return
		}
		if b.spent.CompareAndSwap(spent, max(0, spent-int64(share*milli))) {
			return
		}
	}
}

// spend takes one retry, if there is one.
func (b *budget) spend() bool {
	for {
		spent := b.spent.Load()
		if spent+milli > RetryReserve*milli {
			return false
		}
		if b.spent.CompareAndSwap(spent, spent+milli) {
			return true
		}
	}
}

// refund gives back a retry that was not made.
func (b *budget) refund() {
	for {
		spent := b.spent.Load()
		if b.spent.CompareAndSwap(spent, max(0, spent-milli)) {
			return
		}
	}
}
