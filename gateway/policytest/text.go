package policytest

import (
	"bytes"
	"fmt"
	"io"
	"strconv"
	"strings"

	"github.com/headgate/headgate/gateway/pipeline"
)

// Explainer writes an explanation as text.
type Explainer func(io.Writer, *pipeline.Explanation) error

// WriteText writes reports as text: a line for each test, the differences of each failure, and
// a summary. explain writes the explanation of a failure; with nil there is none.
func WriteText(out io.Writer, reports []*Report, explain Explainer) error {
	var b bytes.Buffer
	var sum totals
	for _, r := range reports {
		r.writeText(&b, explain)
		sum.add(r)
	}
	b.WriteString(sum.String())
	_, err := out.Write(b.Bytes())
	return err
}

func (r *Report) writeText(b *bytes.Buffer, explain Explainer) {
	if r.Wrong.HasErrors() {
		for _, d := range r.Wrong {
			fmt.Fprintln(b, d)
		}
		return
	}
	fmt.Fprintf(b, "%s\n", r.Tests)
	for _, note := range r.Notes {
		fmt.Fprintf(b, "  note  %s\n", note)
	}
	for _, t := range r.Results {
		word := "ok  "
		if !t.OK() {
			word = "FAIL"
		}
		fmt.Fprintf(b, "  %s  %s (%s)\n", word, t.Name, t.extent())
		for i := range t.Failures {
			t.Failures[i].writeText(b, explain)
		}
	}
}

func (t *Result) extent() string {
	s := count(t.Requests, "request")
	if t.Simulated > 0 {
		s += " over " + t.simulated()
	}
	return s
}

// writeText writes a failure below its test: its position, the request, and the
// differences in go-cmp's form.
func (f *Failed) writeText(b *bytes.Buffer, explain Explainer) {
	if f.Cannot != "" {
		fmt.Fprintf(b, "%s: %s\n", f.Position, f.Cannot)
		return
	}
	fmt.Fprintf(b, "%s: %s (-want +got)\n", f.Position, f.Title())
	for _, d := range f.Differences {
		fmt.Fprintf(b, "      - %s: %s\n", d.What, oneLine(d.Want))
		fmt.Fprintf(b, "      + %s: %s\n", d.What, oneLine(d.Got))
	}
	fmt.Fprintf(b, "      the answer was %s\n", oneLine(f.Answer))
	if f.More > 0 {
		fmt.Fprintf(b, "      and so on for %d more of these requests\n", f.More)
	}
	if explain == nil || f.Explanation == nil {
		return
	}
	var text bytes.Buffer
	if explain(&text, f.Explanation) == nil {
		b.WriteString("      what explain says of it now:\n")
		for line := range strings.Lines(text.String()) {
			b.WriteString("        " + line)
		}
	}
}

// oneLine shows text that may have several lines, or be long, in one line.
func oneLine(s string) string {
	const most = 300
	if r := []rune(s); len(r) > most {
		s = string(r[:most]) + "…"
	}
	if strings.ContainsAny(s, "\n\r\t") {
		return strconv.Quote(s)
	}
	return s
}

// totals are what the summary counts.
type totals struct{ files, tests, failed, wrong, skipped, requests int }

func (t *totals) add(r *Report) {
	t.files++
	t.skipped += r.Skipped
	if r.Wrong.HasErrors() {
		t.wrong++
	}
	for _, result := range r.Results {
		t.tests++
		t.requests += result.Requests
		if !result.OK() {
			t.failed++
		}
	}
}

func (t *totals) String() string {
	var b strings.Builder
	if t.failed > 0 || t.wrong > 0 {
		b.WriteString("FAIL: ")
	} else {
		b.WriteString("ok: ")
	}
	fmt.Fprintf(&b, "%s of %s, %s", count(t.tests, "test"), count(t.files, "policy"), count(t.requests, "request"))
	if t.failed > 0 {
		fmt.Fprintf(&b, "; %d failed", t.failed)
	}
	if t.wrong > 0 {
		fmt.Fprintf(&b, "; %s could not be run", count(t.wrong, "file"))
	}
	if t.skipped > 0 {
		fmt.Fprintf(&b, "; %d not chosen", t.skipped)
	}
	return b.String() + "\n"
}

func count(n int, what string) string {
	switch {
	case n == 1:
		return "1 " + what
	case strings.HasSuffix(what, "y"):
		return fmt.Sprintf("%d %sies", n, strings.TrimSuffix(what, "y"))
	}
	return fmt.Sprintf("%d %ss", n, what)
}
