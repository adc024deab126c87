package replay

// timed is a value with a time. Among equal times the one with
// the lower sequence number comes first.
type timed[T any] struct {
	at  int64 // microseconds
	seq uint64
	v   T
}

func (t *timed[T]) before(o *timed[T]) bool {
	return t.at < o.at || t.at == o.at && t.seq < o.seq
}

// timeHeap is a binary heap of values by time; the earliest is first. The zero
// value is empty. (container/heap would allocate for every element.)
type timeHeap[T any] []timed[T]

func (h *timeHeap[T]) push(t timed[T]) {
	s := append(*h, t)
	i := len(s) - 1
	for i > 0 {
		parent := (i - 1) / 2
		if !s[i].before(&s[parent]) {
			break
		}
		s[i], s[parent] = s[parent], s[i]
		i = parent
	}
	*h = s
}

// pop removes the earliest. The heap must not be empty.
func (h *timeHeap[T]) pop() timed[T] {
	s := *h
	top, last := s[0], len(s)-1
	s[0], s[last] = s[last], timed[T]{}
	*h = s[:last]
	h.fix()
	return top
}

// fix restores the order after the first element has changed.
func (h timeHeap[T]) fix() {
	for i := 0; ; {
		child := 2*i + 1
		if child >= len(h) {
			return
		}
		if child+1 < len(h) && h[child+1].before(&h[child]) {
			child++
		}
		if !h[child].before(&h[i]) {
			return
		}
		h[i], h[child] = h[child], h[i]
		i = child
	}
}
