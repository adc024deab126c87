package replay

import (
	_ "embed"
	"fmt"
	"html/template"
	"io"
	"strings"
	"time"
)

//go:embed report.html
var page string

// WriteHTML writes the report as one page that needs nothing else: no script,
// no font, no image from elsewhere.
func (r *Report) WriteHTML(w io.Writer) error {
	t, err := template.New("report").Funcs(template.FuncMap{
		"count":    count,
		"percent":  percent,
		"signed":   signed,
		"stamp":    stamp,
		"minute":   func(t time.Time) string { return t.Format("2006-01-02 15:04") },
		"span":     func(a, b time.Time) string { return duration(Seconds(b.Sub(a).Seconds())) },
		"duration": duration,
		"about":    atLeast,
		"chart":    newChart,
		"share":    func(part, whole int64) string { return fmt.Sprintf("%.2f", 100*ratio(part, whole)) },
		"most":     mostDenied,
	}).Parse(page)
	if err != nil {
		return fmt.Errorf("replay: report.html: %w", err)
	}
	return t.Execute(w, r)
}

// mostDenied is the longest bar of the chart of limits.
func mostDenied(limits []LimitResult) int64 {
	var most int64 = 1
	for _, l := range limits {
		most = max(most, l.Denied)
	}
	return most
}

// chart is the course of time as the template draws it: stacked areas, in a
// box of chartWidth by chartHeight.
type chart struct {
	Areas  []area
	YTicks []tick
	XTicks []tick
	Hover  []hover
	Step   string
}

type area struct{ Class, Path string }

type tick struct {
	At   string
	Text string
}

// hover is a column that tells its figures when it is pointed at.
type hover struct {
	X, Width, Text string
}

const (
	chartWidth  = 1000
	chartHeight = 220
	maxColumns  = 160
)

// newChart draws requests and denials over time.
func newChart(in Series) *chart {
	s := series{start: in.Start.UnixMicro(), step: int64(in.Step * second), steps: in.Points}
	for len(s.steps) > maxColumns {
		s.coarsen()
	}
	points := s.steps
	c := &chart{Step: duration(microseconds(s.step))}
	if len(points) == 0 {
		return c
	}
	var most int64 = 1
	for _, p := range points {
		most = max(most, p.Requests)
	}
	top := niceCeiling(most)
	width := float64(chartWidth) / float64(len(points))
	y := func(n int64) float64 { return chartHeight * (1 - float64(n)/float64(top)) }

	c.Areas = []area{
		{"passed", columns(points, width, y, func(p Point) (int64, int64) { return p.Denied, p.Requests })},
		{"denied", columns(points, width, y, func(p Point) (int64, int64) { return 0, p.Denied })},
	}
	for i := range int64(5) {
		n := top * i / 4
		c.YTicks = append(c.YTicks, tick{number(y(n)), compact(n)})
	}
	c.XTicks = timeTicks(&s)
	for i, p := range points {
		when := timeOf(s.start + int64(i)*s.step)
		text := fmt.Sprintf("%s\n%s requests\n%s denied", stamp(when), count(p.Requests), count(p.Denied))
		if p.DryRun > 0 {
			text += "\n" + count(p.DryRun) + " denied but for dry_run"
		}
		if p.Hits > 0 {
			text += "\n" + count(p.Hits) + " cache hits"
		}
		c.Hover = append(c.Hover, hover{number(float64(i) * width), number(width), text})
	}
	return c
}

// timeTicks marks round times, eight at most.
func timeTicks(s *series) (ticks []tick) {
	span := s.step * int64(len(s.steps))
	every := s.step
	for span/every > 8 {
		every = coarser(every)
	}
	layout := timeLayout(span, every)
	for at := s.start + (every-s.start%every)%every; at < s.start+span; at += every {
		x := float64(at-s.start) / float64(span) * chartWidth
		ticks = append(ticks, tick{number(x), timeOf(at).Format(layout)})
	}
	return ticks
}

// columns is the outline of a stack's layer, with a small gap between columns
// where they are wide enough.
func columns(points []Point, width float64, y func(int64) float64, of func(Point) (from, to int64)) string {
	gap := 0.0
	if width > 6 {
		gap = 1.5
	}
	var b strings.Builder
	for i, p := range points {
		from, to := of(p)
		if to <= from {
			continue
		}
		left, right := float64(i)*width, float64(i+1)*width-gap
		fmt.Fprintf(&b, "M%s %sH%sV%sH%sZ", number(left), number(y(from)), number(right), number(y(to)), number(left))
	}
	return b.String()
}

// number writes a coordinate.
func number(f float64) string {
	return strings.TrimSuffix(strings.TrimRight(fmt.Sprintf("%.2f", f), "0"), ".")
}

// niceCeiling is the next of 4, 8, 12, 20, 40, 80, 120, 200, ...: a top of which
// the quarters are round, too.
func niceCeiling(n int64) int64 {
	for scale := int64(1); ; scale *= 10 {
		for _, m := range []int64{4, 8, 12, 20} {
			if m*scale >= n {
				return m * scale
			}
		}
	}
}

func compact(n int64) string {
	switch {
	case n >= 1_000_000:
		return number(float64(n)/1e6) + "M"
	case n >= 10_000:
		return number(float64(n)/1e3) + "k"
	}
	return count(n)
}

func timeLayout(span, every int64) string {
	switch {
	case every >= 24*3600*second:
		return "2 Jan"
	case span > 24*3600*second:
		return "2 Jan 15:04"
	case every >= 60*second:
		return "15:04"
	}
	return "15:04:05"
}
