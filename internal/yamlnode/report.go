package yamlnode

import (
	"cmp"
	"errors"
	"fmt"
	"slices"
	"strings"
)

// Severity says whether a diagnostic stops the policy from being used.
type Severity int

// The severities.
const (
	Error   Severity = iota // the file can't be used
	Warning                 // legal, but surely not what was wanted
)

func (s Severity) String() string {
	if s == Warning {
		return "warning"
	}
	return "error"
}

// Position is a place in a file. Line and Column count from 1; the column counts characters.
type Position struct {
	File         string
	Line, Column int
}

func (p Position) String() string { return fmt.Sprintf("%s:%d:%d", p.File, p.Line, p.Column) }

// Diagnostic is one mistake in a file.
type Diagnostic struct {
	Position
	Severity Severity
	Message  string // what is wrong
	Mend     string // what to do about it
}

// String formats the diagnostic in one line: file:line:column: what is wrong; how to mend it.
func (d Diagnostic) String() string {
	var b strings.Builder
	b.WriteString(d.Position.String())
	b.WriteString(": ")
	if d.Severity == Warning {
		b.WriteString("warning: ")
	}
	b.WriteString(d.Message)
	if d.Mend != "" {
		b.WriteString("; ")
		b.WriteString(d.Mend)
	}
	return b.String()
}

// Diagnostics are mistakes, in the order of files and lines.
type Diagnostics []Diagnostic

// HasErrors reports whether one of them is an error, and not just a warning.
func (ds Diagnostics) HasErrors() bool {
	return slices.ContainsFunc(ds, func(d Diagnostic) bool { return d.Severity == Error })
}

// Err returns the errors among them as one error, a line each, or nil.
func (ds Diagnostics) Err() error {
	var errs []error
	for _, d := range ds {
		if d.Severity == Error {
			errs = append(errs, errors.New(d.String()))
		}
	}
	return errors.Join(errs...)
}

// String has a line for each diagnostic.
func (ds Diagnostics) String() string {
	var b strings.Builder
	for _, d := range ds {
		b.WriteString(d.String())
		b.WriteByte('\n')
	}
	return b.String()
}

// maxDiagnostics bounds what one run reports: beyond it the file is most likely not a policy at all.
const maxDiagnostics = 1000

// Report collects diagnostics.
type Report struct {
	// Files are the names of the files that are read, in the order in which [Report.Sorted] puts them.
	Files []string
	// Errors counts what was found so far, repeated ones included.
	Errors int

	seen map[Diagnostic]struct{}
	list Diagnostics
}

// Errorf adds an error.
func (r *Report) Errorf(at Position, mend, format string, args ...any) {
	r.Errors++
	r.Add(Diagnostic{Position: at, Severity: Error, Message: fmt.Sprintf(format, args...), Mend: mend})
}

// Warnf adds a warning.
func (r *Report) Warnf(at Position, mend, format string, args ...any) {
	r.Add(Diagnostic{Position: at, Severity: Warning, Message: fmt.Sprintf(format, args...), Mend: mend})
}

// Add keeps a diagnostic once: what an alias repeats is one mistake.
func (r *Report) Add(d Diagnostic) {
	if _, dup := r.seen[d]; dup || len(r.list) > maxDiagnostics {
		return
	}
	if len(r.list) == maxDiagnostics {
		d = Diagnostic{Position: d.Position, Message: fmt.Sprintf("more than %d mistakes", maxDiagnostics), Mend: "mend these first"}
	}
	if r.seen == nil {
		r.seen = map[Diagnostic]struct{}{}
	}
	r.seen[d] = struct{}{}
	r.list = append(r.list, d)
}

// HasErrors reports whether an error was found so far.
func (r *Report) HasErrors() bool { return r.list.HasErrors() }

// Sorted returns what was found, in the order of the files and their lines.
func (r *Report) Sorted() Diagnostics {
	slices.SortStableFunc(r.list, func(a, b Diagnostic) int {
		return cmp.Or(
			cmp.Compare(slices.Index(r.Files, a.File), slices.Index(r.Files, b.File)),
			cmp.Compare(a.Line, b.Line),
			cmp.Compare(a.Column, b.Column),
			cmp.Compare(a.Severity, b.Severity),
			cmp.Compare(a.Message, b.Message),
		)
	})
	return r.list
}
