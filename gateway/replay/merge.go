package replay

import "context"

// merge calls each with the records of all sources in the order of their
// times. Among equal times, a log named earlier comes first. It ends with the first
// log that fails.
func merge(ctx context.Context, sources []*source, each func(*record)) error {
	var heap timeHeap[*source]
	for i, s := range sources {
		if r := s.peek(); r != nil {
			heap.push(timed[*source]{r.At, uint64(i), s})
		} else if s.err != nil {
			return s.err
		}
	}
	for n := 0; len(heap) > 0; n++ {
		if n%1024 == 0 && ctx.Err() != nil {
			break
		}
		s := heap[0].v
		each(&s.batch[s.next])
		s.next++
		if r := s.peek(); r != nil {
			heap[0].at = r.At
			heap.fix()
		} else if heap.pop(); s.err != nil {
			return s.err
		}
	}
	return ctx.Err()
}
