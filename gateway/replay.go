package main

import (
	"fmt"
	"io"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"time"

	"github.com/headgate/headgate/gateway/replay"
	"github.com/headgate/headgate/gateway/replay/logs"
	"github.com/spf13/cobra"
	"golang.org/x/term"
)

// replayFlags are the flags of replay as they were given.
type replayFlags struct {
	policy, against []string
	format, output  string
	host, scheme    string
	assumeTTL       time.Duration
	reorder, top    int
}

func newReplay() *cobra.Command {
	var f replayFlags
	cmd := &cobra.Command{
		Use:   "replay -p FILE [--against FILE] LOG...",
		Short: "Show what a policy would have done to the traffic of access logs",
		Long: "replay runs a policy's routes and limits over access logs, on the logs' own clock, and\n" +
			"estimates what its cache would have saved. With --against it shows what the policy\n" +
			"would do otherwise than another one.\n\n" +
			"It reads logs in these formats, plain or compressed with gzip or zstd. - is standard input.\n\n" + formatList(),
		Args: cobra.MinimumNArgs(1),
		RunE: func(cmd *cobra.Command, files []string) error { return f.run(cmd, files) },
	}
	flags := cmd.Flags()
	policyFlag(flags, &f.policy)
	flags.StringArrayVar(&f.against, "against", nil, "policy `file` to compare with; several are read as one")
	flags.StringVar(&f.format, "format", string(logs.Auto), "what the logs look like: "+formatNames())
	flags.StringVarP(&f.output, "output", "o", "text", "text, json or html; or a `file` whose name ends so: report.html")
	flags.StringVar(&f.host, "host", "", "the host that was asked for, where the logs do not tell it")
	flags.StringVar(&f.scheme, "scheme", "https", "what the logs' requests came by, unless the policy has server.public_scheme: http or https")
	flags.DurationVar(&f.assumeTTL, "assume-ttl", 0, "how long the origin allows caching, where a cache rule leaves it to the origin")
	flags.IntVar(&f.reorder, "reorder", 0, "how many lines to hold back to put them in order (default 65536)")
	flags.IntVar(&f.top, "top", 10, "how many clients and paths to list")
	return cmd
}

func formatNames() string {
	var names []string
	for _, f := range logs.Formats() {
		names = append(names, string(f))
	}
	return strings.Join(names, ", ")
}

// formatList has a line for each format.
func formatList() string {
	var b strings.Builder
	for _, f := range logs.Formats() {
		fmt.Fprintf(&b, "  %-9s %s\n", f, f.About())
	}
	return strings.TrimSuffix(b.String(), "\n")
}

func (f *replayFlags) run(cmd *cobra.Command, files []string) error {
	write, file, err := f.writer()
	if err != nil {
		return err
	}
	if err := f.check(files); err != nil {
		return err
	}
	o := replay.Options{
		Name: strings.Join(f.policy, ", "), AgainstName: strings.Join(f.against, ", "),
		Format: logs.Format(f.format), Host: f.host, Scheme: f.scheme,
		AssumeTTL: f.assumeTTL, Reorder: f.reorder, Top: f.top,
	}
	if o.Policy, err = loadPolicy(cmd, f.policy); err != nil {
		return err
	}
	if len(f.against) > 0 {
		if o.Against, err = loadPolicy(cmd, f.against); err != nil {
			return err
		}
	}
	for _, name := range files {
		o.Logs = append(o.Logs, logs.File(name))
	}
	out, err := createReport(file, cmd.OutOrStdout())
	if err != nil {
		return failed(err)
	}
	defer out.discard()

	bar := progressBar(cmd.ErrOrStderr())
	if bar != nil {
		o.Progress = bar.show
	}
	report, err := replay.Run(cmd.Context(), o)
	bar.clear()
	if err != nil {
		return failed(err)
	}
	if err := write(report, out); err != nil {
		return failed(err)
	}
	return failed(out.keep())
}

// writer returns how the report is written, and to which file; "" is standard output.
func (f *replayFlags) writer() (write func(*replay.Report, io.Writer) error, file string, err error) {
	format := f.output
	if ext := filepath.Ext(f.output); ext != "" {
		format, file = ext[1:], f.output
	}
	switch format {
	case "text", "txt":
		return (*replay.Report).WriteText, file, nil
	case "json":
		return (*replay.Report).WriteJSON, file, nil
	case "html":
		return (*replay.Report).WriteHTML, file, nil
	}
	return nil, "", fmt.Errorf("--output %s is neither text, json or html, nor a file that ends in .txt, .json or .html", f.output)
}

// check finds misuse before any file is opened.
func (f *replayFlags) check(files []string) error {
	switch {
	case !slices.Contains(logs.Formats(), logs.Format(f.format)):
		return fmt.Errorf("there is no --format %s; use one of %s", f.format, formatNames())
	case f.scheme != "http" && f.scheme != "https":
		return fmt.Errorf("--scheme %s is neither http nor https", f.scheme)
	case f.assumeTTL < 0 || f.reorder < 0 || f.top < 0:
		return fmt.Errorf("--assume-ttl, --reorder and --top must not be negative")
	}
	stdin := 0
	for _, name := range files {
		if name == "-" {
			stdin++
		}
	}
	if stdin > 1 {
		return fmt.Errorf("standard input (-) can be read once only")
	}
	return nil
}

// reportFile is where the report goes: standard output, or a file that takes its
// name when it is whole. It is opened before the logs are read, so that a report
// that cannot be written fails at once.
type reportFile struct {
	io.Writer
	file *os.File // nil for standard output
	name string
}

func createReport(name string, stdout io.Writer) (*reportFile, error) {
	if name == "" {
		return &reportFile{Writer: stdout}, nil
	}
	f, err := os.CreateTemp(filepath.Dir(name), "."+filepath.Base(name)+".*")
	if err != nil {
		return nil, fmt.Errorf("--output: %w", err)
	}
	return &reportFile{Writer: f, file: f, name: name}, nil
}

// keep gives the file its name.
func (o *reportFile) keep() error {
	if o.file == nil {
		return nil
	}
	if err := o.file.Chmod(0o644); err != nil {
		return err
	}
	if err := o.file.Close(); err != nil {
		return err
	}
	return os.Rename(o.file.Name(), o.name)
}

// discard removes a file that was not kept.
func (o *reportFile) discard() {
	if o.file != nil {
		o.file.Close()
		os.Remove(o.file.Name())
	}
}

// bar is a progress bar on a terminal.
type bar struct {
	w     io.Writer
	start time.Time
}

// progressBar returns nil where standard error is not a terminal.
func progressBar(w io.Writer) *bar {
	f, ok := w.(*os.File)
	if !ok || !term.IsTerminal(int(f.Fd())) {
		return nil
	}
	return &bar{w: w, start: time.Now()}
}

const barWidth = 30

func (b *bar) show(p replay.Progress) {
	took := time.Since(b.start)
	rate := float64(p.Lines) / max(took.Seconds(), 0.001)
	if p.Total == 0 {
		fmt.Fprintf(b.w, "\r\x1b[K%d lines, %.0f/s", p.Lines, rate)
		return
	}
	share := min(float64(p.Read)/float64(p.Total), 1)
	full := int(share * barWidth)
	left := ""
	if share > 0.02 {
		left = ", " + (time.Duration(float64(took) * (1 - share) / share)).Round(time.Second).String() + " left"
	}
	fmt.Fprintf(b.w, "\r\x1b[K[%s%s] %3.0f %%, %d lines, %.0f/s%s",
		strings.Repeat("=", full), strings.Repeat(" ", barWidth-full), 100*share, p.Lines, rate, left)
}

func (b *bar) clear() {
	if b != nil {
		fmt.Fprint(b.w, "\r\x1b[K")
	}
}
