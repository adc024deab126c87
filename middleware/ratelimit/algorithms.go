package ratelimit

// algorithms lists the algorithms that a limit can count by. A new one named NAME
// is added by
//
//   - NAME.go: its constant, its state and the pure functions of counter;
//   - lua/NAME.lua: the twins of these functions, for Redis;
//   - NAME_test.go: its textbook definition, for the property tests;
//   - a line here.
//
// Everything else (validation, both backends, the scripts, the tests) goes by this
// table.
var algorithms = [...]algorithm{
	{word: FixedWindow, counting: by[fixedWindow]{}},
	{word: SlidingWindow, counting: by[slidingWindow]{}},
	{word: SlidingLog, counting: by[slidingLog]{}, maxRequests: MaxLogged, bytesPerRequest: 16},
	{word: TokenBucket, counting: by[tokenBucket]{}, bursts: true},
	{word: concurrent, counting: by[inFlight]{}, leases: true},
}

// algorithm is a line of the table.
type algorithm struct {
	// word is what a policy calls the algorithm. Its Lua source is lua/WORD.lua.
	word Algorithm
	// counting has its functions.
	counting
	// maxRequests bounds Limit.Requests where that is less than MaxRequests; 0
	// otherwise.
	maxRequests int64
	// bytesPerRequest is the memory that each request of Limit.Requests can take; 0
	// where a counter has a fixed size.
	bytesPerRequest int64
	// bursts says that the algorithm heeds Limit.Burst.
	bursts bool
	// leases says that each request holds a lease until its response is complete. Such a
	// limit has Limit.Concurrent, and no Limit.Algorithm.
	leases bool
}

// Algorithm is how a limit counts.
type Algorithm string

// Values lists the algorithms.
func (Algorithm) Values() []string {
	var words []string
	for i := range algorithms {
		if !algorithms[i].leases {
			words = append(words, string(algorithms[i].word))
		}
	}
	return words
}

// line is the algorithm's line of the table, or nil where it has none.
func (a Algorithm) line() *algorithm {
	for i := range algorithms {
		if algorithms[i].word == a {
			return &algorithms[i]
		}
	}
	return nil
}

// forRequests is the line of the algorithm that counts limits of so many requests. A
// sliding_window of few is counted as a sliding_log. Each size of a limit (its own, or a
// plan's) has keys of its own, so that no key ever holds two formats.
func (a *algorithm) forRequests(requests int64) *algorithm {
	if a.word == SlidingWindow && requests <= exactUpTo {
		return SlidingLog.line()
	}
	return a
}

// state is a counter of any algorithm, as memory keeps it. The zero state is a
// counter that has never been used.
type state struct {
	words [3]int64
	log   []int64 // slidingLog's alone
}

// bytes is the memory that a state holds besides itself.
func (s *state) bytes() int64 { return 8 * int64(len(s.log)) }

// counter is what an algorithm's own state S can do: the pure functions that its
// file has and its Lua file mirrors. Instants and durations are microseconds.
type counter[S any] interface {
	// decode returns the S that a state stands for, and encode writes it back. at is
	// the instant that encode returned, or 0 for a state that is stored.
	decode(s *state, at int64) S
	encode(s *state) (at int64)

	// ahead is by how much S lies ahead of now; less than 0 where it lies behind. What lies
	// more than a window ahead was written under a clock that has been set back since.
	ahead(now int64) int64
	// earlier moves S back by so many microseconds, so that what it counted counts from now.
	earlier(by int64) S
	// at brings S forward to now, or to its own time where that is later: stored time
	// never runs backwards by less than a window.
	at(q *quota, now int64) S
	// fits reports whether cost may be consumed.
	fits(q *quota, cost int64) bool
	// admit consumes cost. mark is what giveBack finds it by.
	admit(cost int64) (next S, mark int64)
	// admits returns the first instant at which cost, which does not fit, will.
	admits(q *quota, cost int64) int64
	// left returns what remains, and the instant of Decision.Reset.
	left(q *quota) (remaining, reset int64)
	// expires returns the instant from which S need not be kept.
	expires(q *quota) int64
	// giveBack undoes an admission, and reports whether that has changed anything: the
	// window that it was admitted to may be over.
	giveBack(q *quota, mark, cost int64) (next S, changed bool)
	// agree returns the S, brought forward to now already, as Redis says it is, as far as its
	// reply tells; and how much others have consumed since S last agreed.
	agree(q *quota, now int64, say told) (next S, others int64)
	// charge adds to an admission, beyond what fits if need be, and reports as giveBack does.
	charge(q *quota, mark, cost int64) (next S, changed bool)
}

// counting is counter for whichever algorithm, on a view.
type counting interface {
	look(v *view)
	fits(v *view, cost int64) bool
	admit(v *view, cost int64) (mark int64)
	admits(v *view, cost int64) int64
	left(v *view) (remaining, reset int64)
	expires(v *view) int64
	giveBack(v *view, mark, cost int64) (changed bool)
	charge(v *view, mark, cost int64) (changed bool)
	agree(v *view, say told) (others int64)
}

// by is the counting of the algorithm whose state is S.
type by[S counter[S]] struct{}

func decode[S counter[S]](v *view) S {
	var zero S
	return zero.decode(&v.state, v.at)
}

func (by[S]) look(v *view) {
	s, moved := within(&v.quota, decode[S](v), v.now)
	v.moved = moved
	v.at = s.at(&v.quota, v.now).encode(&v.state)
}

// within moves a state that lies more than a window ahead of now, as after a failover of
// Redis to a host whose clock is behind, so that it counts from now: otherwise a client
// would be denied until that clock has caught up.
func within[S counter[S]](q *quota, s S, now int64) (_ S, moved bool) {
	if ahead := s.ahead(now); ahead > q.window {
		return s.earlier(ahead), true
	}
	return s, false
}

func (by[S]) fits(v *view, cost int64) bool { return decode[S](v).fits(&v.quota, cost) }

func (by[S]) admit(v *view, cost int64) (mark int64) {
	next, mark := decode[S](v).admit(cost)
	next.encode(&v.state)
	return mark
}

func (by[S]) admits(v *view, cost int64) int64 { return decode[S](v).admits(&v.quota, cost) }

func (by[S]) left(v *view) (remaining, reset int64) { return decode[S](v).left(&v.quota) }

func (by[S]) expires(v *view) int64 { return decode[S](v).expires(&v.quota) }

func (by[S]) giveBack(v *view, mark, cost int64) (changed bool) {
	next, changed := decode[S](v).giveBack(&v.quota, mark, cost)
	next.encode(&v.state)
	return changed
}

func (by[S]) charge(v *view, mark, cost int64) (changed bool) {
	next, changed := decode[S](v).charge(&v.quota, mark, cost)
	next.encode(&v.state)
	return changed
}

func (by[S]) agree(v *view, say told) (others int64) {
	next, others := decode[S](v).agree(&v.quota, v.now, say)
	v.at = next.encode(&v.state)
	return max(0, others)
}

// maxCharged bounds what charge makes of a count, so that the arithmetic in Lua stays exact.
const maxCharged = 1 << 34
