package replay

import (
	"context"
	"errors"
	"fmt"
	"io"
	"sync/atomic"

	"github.com/headgate/headgate/gateway/replay/logs"
)

// source reads one log in a goroutine of its own: it parses the lines and puts the records in the order of their times.
//
// Servers write a request's line when its response is complete, some with the
// time at which the request arrived: lines are out of order by as much as requests
// last. The source therefore holds back as many records as its window says, and passes on the earliest.
type source struct {
	log     logs.Log
	window  int
	batches chan []logs.Record
	summary LogSummary
	err     error // valid once batches is closed, as is summary

	batch []logs.Record // which the merge is consuming
	next  int
}

const (
	batchSize = 256
	// maxBadShown is how many bad lines are shown of each log.
	maxBadShown = 5
)

// startSource begins to read a log.
func startSource(ctx context.Context, log logs.Log, format logs.Format, window int, p *progress) *source {
	s := &source{log: log, window: window, batches: make(chan []logs.Record, 4)}
	s.summary.Name = log.Name
	go func() {
		defer close(s.batches)
		if err := s.read(ctx, format, p); err != nil && ctx.Err() == nil {
			s.err = fmt.Errorf("%s: %w", log.Name, err)
		}
	}()
	return s
}

func (s *source) read(ctx context.Context, format logs.Format, p *progress) error {
	in, err := logs.NewReader(s.log, format, &p.read)
	if err != nil {
		return err
	}
	defer in.Close()
	p.total.Add(in.Size())
	if in.Size() == 0 {
		p.open.Store(true)
	}
	s.summary.Compression, s.summary.Format = in.Compression(), in.Format()
	if in.Format() == logs.Auto { // the log is empty
		return nil
	}
	out := &batcher{to: s.batches, done: ctx.Done()}
	order := newReorder(s.window)
	if err := s.readLines(ctx, in, p, func(r *logs.Record) error { return order.add(r, out.add) }); err != nil {
		return err
	}
	if err := order.drain(out.add); err != nil {
		return err
	}
	s.summary.Late, s.summary.WorstLate = order.late, microseconds(order.worst)
	return out.flush()
}

// readLines calls each with the record of each line that can be parsed. The record is valid until each returns.
func (s *source) readLines(ctx context.Context, in *logs.Reader, p *progress, each func(*logs.Record) error) error {
	var r logs.Record
	for {
		line, err := in.Line()
		if errors.Is(err, io.EOF) {
			return nil
		}
		if err != nil && !errors.Is(err, logs.ErrTooLong) {
			return fmt.Errorf("after line %d: %w", s.summary.Lines, err)
		}
		s.summary.Lines++
		p.lines.Add(1)
		if s.summary.Lines%1024 == 0 && ctx.Err() != nil { // where all lines are bad, each is never called and cannot notice
			return ctx.Err()
		}
		if err == nil && len(line) == 0 {
			continue
		}
		if err == nil {
			err = in.Parse(line, &r)
		}
		if err != nil {
			s.bad(line, err)
			continue
		}
		if r.Own != nil && r.Own.Attempt {
			continue // no client has sent it
		}
		if err := each(&r); err != nil {
			return err
		}
	}
}

// batcher passes records on in batches, as a channel operation for each would be slow. It fails once done is closed.
type batcher struct {
	to   chan<- []logs.Record
	done <-chan struct{}
	next []logs.Record
}

func (b *batcher) add(r *logs.Record) error {
	if b.next == nil {
		b.next = make([]logs.Record, 0, batchSize)
	}
	b.next = append(b.next, *r)
	if len(b.next) < batchSize {
		return nil
	}
	return b.flush()
}

func (b *batcher) flush() error {
	if len(b.next) == 0 {
		return nil
	}
	select {
	case b.to <- b.next:
		b.next = nil
		return nil
	case <-b.done:
		return context.Canceled
	}
}

// bad notes a line that cannot be read.
func (s *source) bad(line []byte, err error) {
	s.summary.BadLines++
	if len(s.summary.Bad) < maxBadShown {
		s.summary.Bad = append(s.summary.Bad, BadLine{
			Line: s.summary.Lines, Reason: err.Error(), Text: logs.Excerpt(line),
		})
	}
}

// peek returns the source's earliest record. At the end of the log, or with an error, it is nil.
func (s *source) peek(ctx context.Context) (*logs.Record, error) {
	for s.next >= len(s.batch) {
		select {
		case batch, ok := <-s.batches:
			if !ok && s.err == nil {
				return nil, ctx.Err() // when ctx ends, so does the source, without an error of its own
			}
			if !ok {
				return nil, s.err
			}
			s.batch, s.next = batch, 0
		case <-ctx.Done():
			return nil, ctx.Err()
		}
	}
	return &s.batch[s.next], nil
}

// reorder holds back up to window records to put them in the order of their times.
type reorder struct {
	window int
	heap   timeHeap[int32] // slots
	slots  []logs.Record
	free   []int32
	seq    uint64

	released int64 // the latest time of a record that was passed on, in microseconds
	late     int64 // records that arrived after a later one had been passed on
	worst    int64 // by how much at most, in microseconds
}

func newReorder(window int) *reorder { return &reorder{window: window} }

// add holds a record back, and passes on the earliest once the window is full.
func (o *reorder) add(r *logs.Record, emit func(*logs.Record) error) error {
	if r.At < o.released {
		o.late++
		o.worst = max(o.worst, o.released-r.At)
	}
	slot := int32(len(o.slots))
	if n := len(o.free); n > 0 {
		slot, o.free = o.free[n-1], o.free[:n-1]
		o.slots[slot] = *r
	} else {
		o.slots = append(o.slots, *r)
	}
	o.seq++
	o.heap.push(timed[int32]{r.At, o.seq, slot})
	if len(o.heap) <= o.window {
		return nil
	}
	return o.release(emit)
}

func (o *reorder) release(emit func(*logs.Record) error) error {
	slot := o.heap.pop().v
	r := &o.slots[slot]
	o.released = max(o.released, r.At)
	err := emit(r)
	*r = logs.Record{}
	o.free = append(o.free, slot)
	return err
}

// drain passes on all records that are still held back.
func (o *reorder) drain(emit func(*logs.Record) error) error {
	for len(o.heap) > 0 {
		if err := o.release(emit); err != nil {
			return err
		}
	}
	return nil
}

// progress is how far all sources together have read.
type progress struct {
	read, total, lines atomic.Int64
	open               atomic.Bool // the size of some log is not known
}
