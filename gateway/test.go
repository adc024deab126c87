package main

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"

	"github.com/headgate/headgate/gateway/policytest"
	"github.com/spf13/cobra"
)

func newTest() *cobra.Command {
	var t testFlags
	cmd := &cobra.Command{
		Use:   "test FILE...",
		Short: "Run the tests that policies have beside them, on a clock of their own",
		Long: "test runs FILE_test.yaml for each policy FILE.yaml: requests in order, and what is to\n" +
			"become of them. They pass the whole gateway, with apps that answer as the tests say\n" +
			"and a clock that moves as they say; no port, Redis or environment variable is needed.\n\n" +
			"It exits 1 if a test fails, or if there was none. The format is in policies/TESTING.md.",
		Args: cobra.MinimumNArgs(1),
		RunE: func(cmd *cobra.Command, files []string) error { return t.run(cmd, files) },
	}
	flags := cmd.Flags()
	flags.StringVar(&t.choose, "run", "", "run the tests whose names this `regexp` matches")
	flags.StringVar(&t.junit, "junit", "", "also write JUnit's XML to this `file`")
	flags.StringVar(&t.format, "format", "text", "text or json")
	return cmd
}

type testFlags struct{ choose, junit, format string }

func (t *testFlags) run(cmd *cobra.Command, files []string) error {
	var choose *regexp.Regexp
	if t.choose != "" {
		var err error
		if choose, err = regexp.Compile(t.choose); err != nil {
			return fmt.Errorf("--run: %w", err)
		}
	}
	if t.format != "text" && t.format != "json" {
		return fmt.Errorf("--format %s is not known; use text or json", t.format)
	}
	var reports []*policytest.Report
	ok, ran := true, 0
	for _, o := range pairs(files) {
		if _, err := os.Stat(o.Tests); errors.Is(err, fs.ErrNotExist) && !slices.Contains(files, o.Tests) {
			if _, err := os.Stat(o.Policy); err != nil {
				return failed(err)
			}
			fmt.Fprintf(cmd.ErrOrStderr(), "%s: no tests; they would be in %s\n", o.Policy, o.Tests)
			continue
		}
		o.Run = choose
		r, err := policytest.Run(cmd.Context(), o)
		if err != nil {
			return failed(err)
		}
		ok, ran = ok && r.OK(), ran+len(r.Results)
		reports = append(reports, r)
	}
	if err := t.write(cmd.OutOrStdout(), reports); err != nil {
		return failed(err)
	}
	switch {
	case !ok:
		return errSaid
	case ran == 0:
		return failed(errors.New("there was no test to run"))
	}
	return nil
}

// write writes the reports wherever they are wanted.
func (t *testFlags) write(out io.Writer, reports []*policytest.Report) error {
	if t.junit != "" {
		var xml bytes.Buffer
		if err := policytest.WriteJUnit(&xml, reports, writeExplanation); err != nil {
			return err
		}
		if err := os.WriteFile(t.junit, xml.Bytes(), 0o644); err != nil {
			return fmt.Errorf("--junit: %w", err)
		}
	}
	if t.format == "json" {
		return policytest.WriteJSON(out, reports)
	}
	return policytest.WriteText(out, reports, writeExplanation)
}

// pairs finds for each file the other that belongs to it: policies and their
// tests may both be named, as policies/*.yaml does.
func pairs(files []string) (all []policytest.Options) {
	for _, file := range files {
		ext := filepath.Ext(file)
		stem := strings.TrimSuffix(file, ext)
		o := policytest.Options{Policy: file, Tests: stem + "_test" + ext}
		if policy, ok := strings.CutSuffix(stem, "_test"); ok {
			o = policytest.Options{Policy: policy + ext, Tests: file}
		}
		if !slices.ContainsFunc(all, func(p policytest.Options) bool { return p.Tests == o.Tests }) {
			all = append(all, o)
		}
	}
	return all
}
