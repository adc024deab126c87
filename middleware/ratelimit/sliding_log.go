package ratelimit

import "slices"

// SlidingLog remembers every admission: exact, 8 bytes each.
const SlidingLog Algorithm = "sliding_log"

// slidingLog remembers when each request was admitted.
//
//	admit when admissions in (now - window, now] + cost <= limit
//
// Denied requests are not logged: a client that keeps trying is let in again
// as soon as its oldest admission is a window old, not never.
//
// Error: none. No span of a window's length ever sees more than limit.
//
// Memory per key: 8 bytes for each admission within the window (in Redis about
// 11, in a list), which is why Requests is at most MaxLogged. A cost of n logs
// n times.
//
// Choose it for small limits that must hold exactly: what is expensive, paid
// for or dangerous. For anything above some hundreds of requests,
// sliding_window is the better bargain.
//
// Like a slice, a slidingLog shares its memory with the one that it was made
// from: admit may write behind the end of the old one, which keeps its own
// view until another admit to it.
type slidingLog struct {
	times []int64 // a ring: its length is 0 or a power of two
	head  int     // where the oldest admission is
	n     int
	now   int64 // not stored: the instant that at was asked for
}

func (slidingLog) decode(s *state, at int64) slidingLog {
	return slidingLog{times: s.log, head: int(s.words[0]), n: int(s.words[1]), now: at}
}

func (s slidingLog) encode(to *state) int64 {
	to.words, to.log = [3]int64{int64(s.head), int64(s.n)}, s.times
	return s.now
}

func (s slidingLog) nth(i int) int64 { return s.times[(s.head+i)&(len(s.times)-1)] }

func (s slidingLog) ahead(now int64) int64 {
	if s.n == 0 {
		return 0
	}
	return s.nth(s.n-1) - now
}

func (s slidingLog) earlier(by int64) slidingLog {
	s.times = slices.Clone(s.times)
	for i := range s.times {
		s.times[i] -= by
	}
	return s
}

// at forgets what has left the window, seen from now or, where the clock was
// set back, from the newest admission.
func (s slidingLog) at(q *quota, now int64) slidingLog {
	if s.n > 0 {
		now = max(now, s.nth(s.n-1))
	}
	s.now = now
	for s.n > 0 && s.nth(0) <= now-q.window {
		s.head = (s.head + 1) & (len(s.times) - 1)
		s.n--
	}
	return s
}

func (s slidingLog) fits(q *quota, cost int64) bool { return int64(s.n)+cost <= q.requests }

// admit marks the admission by its instant.
func (s slidingLog) admit(cost int64) (slidingLog, int64) {
	need := s.n + int(cost)
	if need > len(s.times) {
		size := max(4, 2*len(s.times))
		for size < need {
			size *= 2
		}
		times := make([]int64, size)
		for i := range s.n {
			times[i] = s.nth(i)
		}
		s.times, s.head = times, 0
	}
	for range cost {
		s.times[(s.head+s.n)&(len(s.times)-1)] = s.now
		s.n++
	}
	return s, s.now
}

// admits returns when enough of the oldest admissions will have left the window.
func (s slidingLog) admits(q *quota, cost int64) int64 {
	tooMany := s.n + int(cost-q.requests)
	return s.nth(tooMany-1) + q.window
}

func (s slidingLog) left(q *quota) (remaining, full int64) {
	if s.n == 0 {
		return q.requests, s.now
	}
	return q.requests - int64(s.n), s.nth(s.n-1) + q.window
}

// expires: when the newest admission leaves the window.
func (s slidingLog) expires(q *quota) int64 {
	_, full := s.left(q)
	return full
}

// giveBack removes cost admissions that were logged at mark, in place.
// Admissions of the same microsecond are alike: any of them will do.
func (s slidingLog) giveBack(_ *quota, mark, cost int64) (slidingLog, bool) {
	kept, mask := s.n, len(s.times)-1
	for i := s.n - 1; i >= 0 && cost > 0 && s.nth(i) >= mark; i-- {
		if s.nth(i) != mark {
			continue
		}
		for j := i; j < kept-1; j++ {
			s.times[(s.head+j)&mask] = s.times[(s.head+j+1)&mask]
		}
		kept--
		cost--
	}
	s.n = kept
	return s, true
}

// charge logs more admissions beside one that was logged at mark. The newest as many as the
// limit has requests decide about all that comes: older ones are dropped, so that the log
// does not outgrow the limit.
func (s slidingLog) charge(q *quota, mark, cost int64) (slidingLog, bool) {
	at := s.n - 1
	for at >= 0 && s.nth(at) > mark {
		at--
	}
	if at < 0 || s.nth(at) != mark {
		return s, false
	}
	cost = min(cost, q.requests)
	all := make([]int64, 0, int64(s.n)+cost)
	for i := range s.n {
		all = append(all, s.nth(i))
		for j := int64(0); i == at && j < cost; j++ {
			all = append(all, mark)
		}
	}
	all = all[max(0, int64(len(all))-q.requests):]
	size := max(4, len(s.times))
	for size < len(all) {
		size *= 2
	}
	s.times, s.head, s.n = make([]int64, size), 0, len(all)
	copy(s.times, all)
	return s, true
}

// agree logs what others have admitted in the middle between the newest admission that is known
// and now, or else now.
func (s slidingLog) agree(q *quota, now int64, say told) (slidingLog, int64) {
	n := q.requests - say.remaining
	others := n - say.cost - int64(s.n)
	for ; others < 0 && s.n > 0; others++ {
		s.head = (s.head + 1) & (len(s.times) - 1)
		s.n--
	}
	s.now = now
	if s.n > 0 {
		s.now -= max(0, now-s.nth(s.n-1)) / 2
	}
	s, _ = s.admit(max(0, others))
	s.now = max(now, s.now)
	s, _ = s.admit(say.cost)
	return s, others
}
