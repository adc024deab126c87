package ratelimit

// TokenBucket admits a steady rate, and bursts up to the bucket's size.
const TokenBucket Algorithm = "token_bucket"

// tokenBucket lets each request take tokens from a bucket that refills at a
// steady rate.
//
//	tokens = min(burst, tokens + elapsed * requests / window)
//	admit when tokens >= cost; then tokens -= cost
//
// What is kept is the complement, the tokens that were spent and not yet
// refilled, so that the zero state is a full bucket; and the part of a token
// that has come in since, in 1/window of one, so that nothing is ever rounded
// away: the bucket's level is exact at every microsecond.
//
// Error: none. Any span of time T sees at most burst + T*requests/window
// admitted: that is the definition, and it is up to twice what "so many per
// window" may suggest, after a pause.
//
// Memory per key: three integers, until the bucket is full again.
//
// Choose it where a sustained rate matters and short bursts are welcome: APIs
// whose clients work in batches. A small burst with a fast rate (burst 1: one
// request each window/requests) is a pacer.
type tokenBucket struct {
	updated  int64 // microseconds
	spent    int64 // whole tokens missing
	fraction int64 // of the next token, in 1/window of one: 0 <= fraction < window
}

func (tokenBucket) decode(s *state, _ int64) tokenBucket {
	return tokenBucket{updated: s.words[0], spent: s.words[1], fraction: s.words[2]}
}

func (s tokenBucket) encode(to *state) int64 {
	to.words = [3]int64{s.updated, s.spent, s.fraction}
	return s.updated
}

func (s tokenBucket) ahead(now int64) int64 { return s.updated - now }

func (s tokenBucket) earlier(by int64) tokenBucket {
	s.updated -= by
	return s
}

// at refills the bucket up to now. A clock that was set back refills nothing.
func (s tokenBucket) at(q *quota, now int64) tokenBucket {
	now = max(now, s.updated)
	elapsed := now - s.updated
	if elapsed >= s.refill(q, s.spent) {
		return tokenBucket{updated: now}
	}
	tokens, fraction := mulDiv(q.requests, elapsed, s.fraction, q.window)
	return tokenBucket{updated: now, spent: s.spent - tokens, fraction: fraction}
}

// refill returns how long it takes until so many tokens have come in,
// microseconds, rounded up.
func (s tokenBucket) refill(q *quota, tokens int64) int64 {
	if tokens <= 0 {
		return 0
	}
	wait, _ := mulDiv(tokens, q.window, q.requests-1-s.fraction, q.requests)
	return wait
}

func (s tokenBucket) fits(q *quota, cost int64) bool { return s.spent+cost <= q.burst }

// admit needs no mark: a token that is given back is like any other.
func (s tokenBucket) admit(cost int64) (tokenBucket, int64) {
	s.spent += cost
	return s, s.updated
}

func (s tokenBucket) admits(q *quota, cost int64) int64 {
	return s.updated + s.refill(q, s.spent+cost-q.burst)
}

func (s tokenBucket) left(q *quota) (remaining, full int64) {
	return max(0, q.burst-s.spent), s.updated + s.refill(q, s.spent)
}

// expires: when the bucket is full.
func (s tokenBucket) expires(q *quota) int64 {
	_, full := s.left(q)
	return full
}

// giveBack returns tokens to the bucket, as far as they have not come in again
// of themselves.
func (s tokenBucket) giveBack(_ *quota, _, cost int64) (tokenBucket, bool) {
	if s.spent == 0 {
		return s, false
	}
	if s.spent -= cost; s.spent <= 0 {
		s.spent, s.fraction = 0, 0
	}
	return s, true
}

// charge takes tokens that the bucket may not have: it owes them then, and admits again
// once it has repaid them, in 366 days at most. The time of the admission does not matter.
func (s tokenBucket) charge(q *quota, _, cost int64) (tokenBucket, bool) {
	most, _ := mulDiv(q.requests, MaxWindow.Microseconds(), 0, q.window)
	s.spent = max(s.spent, min(s.spent+cost, most, maxCharged))
	return s, true
}

func (s tokenBucket) agree(q *quota, now int64, say told) (tokenBucket, int64) {
	spent := q.burst - say.remaining
	return tokenBucket{updated: now, spent: spent}, spent - say.cost - s.spent
}
