package replay

import (
	"context"

	"github.com/headgate/headgate/gateway/replay/logs"
)

// merge calls each with the records of all sources in the order of their
// times. Among equal times, the log that was named earlier comes first. It returns the error of the first log that fails.
func merge(ctx context.Context, sources []*source, each func(*logs.Record)) error {
	var heap timeHeap[*source]
	for i, s := range sources {
		r, err := s.peek(ctx)
		if err != nil {
			return err
		}
		if r != nil {
			heap.push(timed[*source]{r.At, uint64(i), s})
		}
	}
	for len(heap) > 0 {
		s := heap[0].v
		each(&s.batch[s.next])
		s.next++
		r, err := s.peek(ctx)
		if err != nil {
			return err
		}
		if r != nil {
			heap[0].at = r.At
			heap.fix()
		} else {
			heap.pop()
		}
	}
	return nil
}
