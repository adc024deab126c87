package main

import (
	"encoding/json"
	"fmt"
	"io"
	"os"
	"strings"

	"github.com/headgate/headgate/policies"
	"github.com/spf13/cobra"
	"golang.org/x/term"
)

func newCheck() *cobra.Command {
	var format string
	var noFiles bool
	cmd := &cobra.Command{
		Use:   "check [FILE...]",
		Short: "Check policy files and show everything that is wrong with them",
		Long: "check reads each policy file as serve would, and shows all errors and warnings as\n" +
			"file:line:column: what is wrong; how to mend it. On a terminal it shows the lines as\n" +
			"well. It exits 1 if there is an error. Without a file it checks " + defaultPolicy + ".\n\n" +
			"The files that a policy names (certificates, keys, the access log's folder) must be there\n" +
			"as for serve; --no-files leaves them out, for a machine that has none of them.",
		RunE: func(cmd *cobra.Command, files []string) error {
			show, ok := checkFormats[format]
			if !ok {
				return fmt.Errorf("--format %s is not known; use text, json or github", format)
			}
			if len(files) == 0 {
				files = []string{defaultPolicy}
			}
			var results []checkResult
			wrong := false
			for _, file := range files {
				_, found := policies.Load(file, policies.LoadOptions{CheckFiles: !noFiles})
				results = append(results, checkResult{file, found})
				wrong = wrong || found.HasErrors()
			}
			if err := show(cmd.OutOrStdout(), results); err != nil {
				return failed(err)
			}
			if wrong {
				hintWithoutPolicy(cmd.ErrOrStderr(), files)
				return errSaid
			}
			return nil
		},
	}
	cmd.Flags().BoolVar(&noFiles, "no-files", false, "do not look at the certificates, keys and folders that the policy names")
	cmd.Flags().StringVar(&format, "format", "text", "text, json (for programs) or github (annotations of a workflow run)")
	return cmd
}

// checkResult is what was found in one file and those that it includes.
type checkResult struct {
	file  string
	found policies.Diagnostics
}

// checkFormats are the ways to show results.
var checkFormats = map[string]func(io.Writer, []checkResult) error{
	"text":   checkText,
	"json":   checkJSON,
	"github": checkGitHub,
}

func checkText(w io.Writer, results []checkResult) error {
	for _, r := range results {
		writeDiagnostics(w, r.found)
		if r.found.HasErrors() {
			continue
		}
		if _, err := fmt.Fprintf(w, "%s: ok\n", r.file); err != nil {
			return err
		}
	}
	return nil
}

func checkJSON(w io.Writer, results []checkResult) error {
	type diagnostic struct {
		File     string `json:"file"`
		Line     int    `json:"line"`
		Column   int    `json:"column"`
		Severity string `json:"severity"`
		Message  string `json:"message"`
		Mend     string `json:"mend,omitempty"`
	}
	all := []diagnostic{}
	for _, r := range results {
		for _, d := range r.found {
			all = append(all, diagnostic{d.File, d.Line, d.Column, d.Severity.String(), d.Message, d.Mend})
		}
	}
	out := json.NewEncoder(w)
	out.SetIndent("", "  ")
	out.SetEscapeHTML(false)
	return out.Encode(all)
}

// checkGitHub writes workflow commands, which GitHub shows beside the lines of
// a pull request.
func checkGitHub(w io.Writer, results []checkResult) error {
	data := strings.NewReplacer("%", "%25", "\r", "%0D", "\n", "%0A")
	property := strings.NewReplacer("%", "%25", "\r", "%0D", "\n", "%0A", ":", "%3A", ",", "%2C")
	for _, r := range results {
		for _, d := range r.found {
			text := d.Message
			if d.Mend != "" {
				text += "; " + d.Mend
			}
			if _, err := fmt.Fprintf(w, "::%s file=%s,line=%d,col=%d::%s\n",
				d.Severity, property.Replace(d.File), d.Line, d.Column, data.Replace(text)); err != nil {
				return err
			}
		}
	}
	return nil
}

// writeDiagnostics writes a line for each diagnostic, and on a terminal the
// line that it is about with a caret below the place.
func writeDiagnostics(w io.Writer, found policies.Diagnostics) {
	f, ok := w.(*os.File)
	excerpts := ok && term.IsTerminal(int(f.Fd()))
	for _, d := range found {
		fmt.Fprintln(w, d)
		if excerpts {
			fmt.Fprint(w, excerpt(d))
		}
	}
}

// excerpt returns the line that a diagnostic is about and a caret below it, or
// nothing where there is no such line.
func excerpt(d policies.Diagnostic) string {
	text, err := os.ReadFile(d.File)
	if err != nil || d.Line < 1 {
		return ""
	}
	lines := strings.Split(string(text), "\n")
	if d.Line > len(lines) {
		return ""
	}
	line := []rune(strings.TrimRight(lines[d.Line-1], "\r"))
	indent := make([]rune, 0, len(line))
	for i := range min(max(d.Column-1, 0), len(line)) {
		if line[i] == '\t' {
			indent = append(indent, '\t') // as wide as the one above
		} else {
			indent = append(indent, ' ')
		}
	}
	return fmt.Sprintf("    %s\n    %s^\n", string(line), string(indent))
}
