package proxy

import "sync/atomic"

const (
	// RetryReserve is how many retries an upstream has in hand before it has
	// seen any traffic, and the most that it ever saves up: over any stretch
	// there are at most RetryReserve retries plus RetryBudget's share of the
	// requests. It covers the requests in flight on a server that dies.
	RetryReserve = 100

	milli = 1000
)

// budget is a token bucket that requests fill and retries empty, in
// thousandths of a retry.
type budget struct {
	spent atomic.Int64 // below its cap by this much: zero is a full bucket
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
