//go:build linux

package main

import (
	"fmt"
	"io"
	"os"
	"slices"
	"strings"
)

// report gathers the figures of all rounds, by row, column and quantity.
type report struct {
	plan    *plan
	figures map[figure][]float64
	notes   []string // what could not be measured, and why
	failed  bool
}

type figure struct{ row, contender, quantity string }

func (r *report) add(row, contender, quantity string, value float64) {
	if r.figures == nil {
		r.figures = map[figure][]float64{}
	}
	f := figure{row, contender, quantity}
	r.figures[f] = append(r.figures[f], value)
}

// note tells of something that is not on this machine.
func (r *report) note(format string, args ...any) {
	text := fmt.Sprintf(format, args...)
	if !slices.Contains(r.notes, text) {
		r.notes = append(r.notes, text)
		fmt.Fprintln(os.Stderr, text)
	}
}

// fail tells of something that should have been measured.
func (r *report) fail(format string, args ...any) {
	r.failed = true
	r.note(format, args...)
}

func (r *report) has(row, contender, quantity string) bool {
	return len(r.figures[figure{row, contender, quantity}]) > 0
}

// median of the rounds; 0 where nothing was measured.
func (r *report) median(row, contender, quantity string) float64 {
	v := slices.Sorted(slices.Values(r.figures[figure{row, contender, quantity}]))
	switch n := len(v); {
	case n == 0:
		return 0
	case n%2 == 1:
		return v[n/2]
	default:
		return (v[n/2-1] + v[n/2]) / 2
	}
}

// ratio is the figure over nginx', in brackets; empty where there is none.
func (r *report) ratio(row, contender, quantity string) string {
	base := r.median(row, "nginx", quantity)
	if base == 0 || contender == "nginx" {
		return ""
	}
	return fmt.Sprintf(" (%.2f)", r.median(row, contender, quantity)/base)
}

func (r *report) print(w io.Writer, contenders []*contender) {
	rounds := fmt.Sprintf("Medians of %d interleaved rounds of %d s each, in brackets the ratio to nginx.", r.plan.rounds, r.plan.seconds)
	if len(r.plan.works) > 0 {
		fmt.Fprintf(w, "CPU microseconds per request, user and system time of the contender's processes, Redis' own after a plus;\n"+
			"`wrk -t1 -c64`, for HTTP/2 `h2load -t1 -c8 -m8`, loopback. %s\n\n", rounds)
		r.printClosed(w, contenders)
	}
	if len(r.plan.rates) > 0 {
		fmt.Fprintf(w, "Evenly spaced requests for 1 KiB over %d connections; latency in milliseconds from the time when a request was due;\n"+
			"loader late: p99 of how late the loader itself was; where that is near a latency, the machine was too busy to measure it. %s\n\n", openConns, rounds)
		r.printOpen(w, contenders)
	}
	for _, n := range r.notes {
		fmt.Fprintln(w, "-", n)
	}
}

func (r *report) printClosed(w io.Writer, contenders []*contender) {
	header := []string{""}
	for _, c := range contenders {
		header = append(header, c.name)
	}
	rows := [][]string{header}
	for _, work := range r.plan.works {
		row := []string{work.name}
		for _, c := range contenders {
			row = append(row, r.closedCell(work, c))
		}
		rows = append(rows, row)
	}
	table(w, rows)
}

func (r *report) closedCell(work *work, c *contender) string {
	if !r.has(work.key, c.name, "cpu") {
		return ""
	}
	cell := fmt.Sprintf("%.1f", r.median(work.key, c.name, "cpu"))
	if redis := r.median(work.key, c.name, "redis"); redis >= 0.1 {
		cell += fmt.Sprintf(" + %.1f", redis)
	}
	return cell + r.ratio(work.key, c.name, "cpu")
}

func (r *report) printOpen(w io.Writer, contenders []*contender) {
	rows := [][]string{{"rate", "contender", "requests/s", "p50", "p99", "p99.9", "CPU us/request", "loader late"}}
	for _, rate := range append([]rate{{text: saturation}}, r.plan.rates...) {
		for _, c := range contenders {
			if !r.has(rate.text, c.name, "cpu") {
				continue
			}
			row := []string{rate.text, c.name, fmt.Sprintf("%.0f", r.median(rate.text, c.name, "rate"))}
			for _, q := range []string{"p50", "p99", "p99.9"} {
				row = append(row, fmt.Sprintf("%.2f%s", r.median(rate.text, c.name, q), r.ratio(rate.text, c.name, q)))
			}
			row = append(row, fmt.Sprintf("%.1f%s", r.median(rate.text, c.name, "cpu"), r.ratio(rate.text, c.name, "cpu")))
			rows = append(rows, append(row, fmt.Sprintf("%.2f", r.median(rate.text, c.name, "late"))))
		}
	}
	table(w, rows)
}

// table prints rows as a markdown table; the first row is its header.
func table(w io.Writer, rows [][]string) {
	for i, row := range rows {
		fmt.Fprintf(w, "| %s |\n", strings.Join(row, " | "))
		if i == 0 {
			fmt.Fprintf(w, "|%s\n", strings.Repeat("---|", len(row)))
		}
	}
	fmt.Fprintln(w)
}
