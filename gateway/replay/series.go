package replay

// series counts requests over time in at most maxSteps equal steps. When the log turns out to be longer, steps are merged
// into wider ones.
type series struct {
	start int64 // microseconds; a multiple of step
	step  int64 // microseconds
	steps []Point
}

const (
	maxSteps = 480
	second   = 1_000_000 // in microseconds
)

// stepWidths are the widths of a step, in seconds. Each is a multiple of the one
// before, so that whole steps can be merged. After the last, widths double.
var stepWidths = [...]int64{1, 5, 15, 60, 300, 900, 3600, 3 * 3600, 12 * 3600, 24 * 3600}

// coarser is the next wider step.
func coarser(step int64) int64 {
	for _, s := range stepWidths {
		if s*second > step {
			return s * second
		}
	}
	return 2 * step
}

// at returns the step that a time is in. The first call must be the one with the earliest time.
func (s *series) at(us int64) *Point {
	if s.step == 0 {
		s.step = second
		s.start = us - us%s.step
	}
	for (us-s.start)/s.step >= maxSteps {
		s.coarsen()
	}
	i := int(max(0, us-s.start) / s.step)
	for len(s.steps) <= i {
		s.steps = append(s.steps, Point{})
	}
	return &s.steps[i]
}

// coarsen merges steps into the next wider ones.
func (s *series) coarsen() {
	step := coarser(s.step)
	start := s.start - s.start%step
	var merged []Point
	for i, p := range s.steps {
		at := int((s.start + int64(i)*s.step - start) / step)
		for len(merged) <= at {
			merged = append(merged, Point{})
		}
		merged[at].add(p)
	}
	s.start, s.step, s.steps = start, step, merged
}

func (p *Point) add(o Point) {
	p.Requests += o.Requests
	p.Denied += o.Denied
	p.DryRun += o.DryRun
	p.Hits += o.Hits
}

func (s *series) result() Series {
	r := Series{Step: microseconds(s.step), Points: s.steps}
	if s.step > 0 {
		r.Start = timeOf(s.start)
	}
	return r
}
