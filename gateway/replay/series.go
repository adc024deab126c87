package replay

// series counts over time in at most maxSteps equal steps, whose width doubles
// whenever the log turns out to be longer.
type series struct {
	start int64 // microseconds
	step  int64
	steps []Point
}

const maxSteps = 480

// at returns the step of a time, which must not be earlier than the first one asked for.
func (s *series) at(us int64) *Point {
	if s.step == 0 {
		s.step = 1_000_000
		s.start = us - us%s.step
	}
	for (us-s.start)/s.step >= maxSteps {
		s.double()
	}
	i := int(max(0, us-s.start) / s.step)
	for len(s.steps) <= i {
		s.steps = append(s.steps, Point{})
	}
	return &s.steps[i]
}

// double makes steps twice as wide, beginning at a multiple of their width.
func (s *series) double() {
	s.step *= 2
	shift := 0
	if s.start%s.step != 0 {
		s.start -= s.step / 2
		shift = 1
	}
	merged := make([]Point, (len(s.steps)+shift+1)/2)
	for i, p := range s.steps {
		merged[(i+shift)/2].add(p)
	}
	s.steps = merged
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
