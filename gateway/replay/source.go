package replay

import (
	"context"
	"errors"
	"fmt"
	"io"
	"sync/atomic"
)

// source reads one log in a goroutine of its own: lines into records, records
// into the order of their times, as far as its window goes.
//
// Servers write a request's line when its answer is complete, some with the
// time at which it came: lines are out of order by as much as requests
// last. The window holds back so many lines that the earliest of them can
// be told.
type source struct {
	log     Log
	window  int
	batches chan []record
	summary LogSummary
	err     error // valid once batches is closed, as is summary

	batch []record // what is being consumed
	next  int
}

const (
	batchSize = 256
	// maxBadShown is how many bad lines are shown of each log.
	maxBadShown = 5
)

// startSource begins to read a log.
func startSource(ctx context.Context, log Log, format Format, window int, p *progress) *source {
	s := &source{log: log, window: window, batches: make(chan []record, 4)}
	s.summary.Name = log.Name
	go func() {
		defer close(s.batches)
		if err := s.read(ctx, format, p); err != nil && ctx.Err() == nil {
			s.err = fmt.Errorf("%s: %w", log.Name, err)
		}
	}()
	return s
}

func (s *source) read(ctx context.Context, format Format, p *progress) error {
	in, size, err := s.log.open(&p.read)
	if err != nil {
		return err
	}
	defer in.close()
	p.total.Add(size)
	if size == 0 {
		p.open.Store(true)
	}
	s.summary.Compression = in.compression
	if format == Auto || format == "" {
		if format, err = detect(in.beginning()); err != nil {
			return err
		}
	}
	s.summary.Format = format
	if format == Auto { // the log is empty
		return nil
	}
	parse := format.parser()

	order := newReorder(s.window)
	out := make([]record, 0, batchSize)
	emit := func(r *record) error {
		out = append(out, *r)
		if len(out) < batchSize {
			return nil
		}
		select {
		case s.batches <- out:
		case <-ctx.Done():
			return ctx.Err()
		}
		out = make([]record, 0, batchSize)
		return nil
	}

	var strings interner
	for {
		line, err := in.line()
		if errors.Is(err, io.EOF) {
			break
		}
		if err != nil && !errors.Is(err, errLong) {
			return fmt.Errorf("after line %d: %w", s.summary.Lines, err)
		}
		s.summary.Lines++
		p.lines.Add(1)
		if s.summary.Lines%1024 == 0 && ctx.Err() != nil { // emit would not notice where all lines are bad
			return ctx.Err()
		}
		if err == nil && len(line) == 0 {
			continue
		}
		var r record
		r.Bytes = -1
		if err == nil {
			err = parse(line, &r, &strings)
		}
		if err != nil {
			s.bad(line, err)
			continue
		}
		if err := order.add(&r, emit); err != nil {
			return err
		}
	}
	if err := order.drain(emit); err != nil {
		return err
	}
	s.summary.Late, s.summary.WorstLate = order.late, microseconds(order.worst)
	if len(out) > 0 {
		select {
		case s.batches <- out:
		case <-ctx.Done():
		}
	}
	return nil
}

// bad notes a line that cannot be read.
func (s *source) bad(line []byte, err error) {
	s.summary.BadLines++
	if len(s.summary.Bad) < maxBadShown {
		s.summary.Bad = append(s.summary.Bad, BadLine{
			Line: s.summary.Lines, Reason: err.Error(), Text: excerpt(line),
		})
	}
}

// peek returns the source's earliest record; nil at the end, or with an error.
func (s *source) peek(ctx context.Context) (*record, error) {
	for s.next >= len(s.batch) {
		select {
		case batch, ok := <-s.batches:
			if !ok && s.err == nil {
				return nil, ctx.Err() // interrupted, a source ends as if its log did
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

// reorder holds back records to put them in the order of their times. Its
// memory is bounded by its window.
type reorder struct {
	window int
	heap   timeHeap[int32] // slots
	slots  []record
	free   []int32
	seq    uint64

	released int64 // the time of the last record that went out
	late     int64 // records that came after a later one had gone out
	worst    int64 // by how much, microseconds
}

func newReorder(window int) *reorder { return &reorder{window: window} }

// add takes a record in, and passes on the earliest once the window is full.
func (o *reorder) add(r *record, emit func(*record) error) error {
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

func (o *reorder) release(emit func(*record) error) error {
	slot := o.heap.pop().v
	r := &o.slots[slot]
	o.released = max(o.released, r.At)
	err := emit(r)
	*r = record{}
	o.free = append(o.free, slot)
	return err
}

// drain passes on what is left.
func (o *reorder) drain(emit func(*record) error) error {
	for len(o.heap) > 0 {
		if err := o.release(emit); err != nil {
			return err
		}
	}
	return nil
}

// progress is what has been read so far, by all sources together.
type progress struct {
	read, total, lines atomic.Int64
	open               atomic.Bool // a source's size is not known
}
