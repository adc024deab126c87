package listener

// eagerness decides whether a connection's goroutine lets others run before it reads
// the next request.
//
// Where many connections are busy, the request is often there by the time that it is
// this goroutine's turn again: that spares a read that finds nothing, and parking (a
// tenth of what a 429 costs). Where few are, it is seldom there, and to yield wakes a
// thread for nothing (a fifth of what a cached hit costs at a tenth of saturation).
// So a connection yields while one of three yields finds a request, and else tries
// once in a while.
type eagerness struct {
	credit  int8  // of yields that have found a request
	without uint8 // requests since the last yield
}

const (
	mostCredit = 8
	yieldProbe = 16 // requests of a connection, of which one is preceded by a yield at least
)

// yields reports whether to yield before the next read.
func (e *eagerness) yields() bool {
	if e.without++; e.credit == 0 && e.without < yieldProbe {
		return false
	}
	e.without = 0
	return true
}

// learn takes whether the read after a yield found something at once.
func (e *eagerness) learn(found bool) {
	if found {
		e.credit = min(e.credit+2, mostCredit)
	} else {
		e.credit = max(e.credit-1, 0)
	}
}
