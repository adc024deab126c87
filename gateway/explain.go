package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net/http"
	"net/url"
	"strings"

	"github.com/headgate/headgate/gateway/admin"
	"github.com/headgate/headgate/gateway/pipeline"
	"github.com/headgate/headgate/gateway/server"
	"github.com/headgate/headgate/middleware/ratelimit"
	"github.com/spf13/cobra"
)

func newExplain() *cobra.Command {
	var flags adminFlags
	var q admin.Question
	var headers []string
	var live bool
	var format string
	cmd := &cobra.Command{
		Use:   "explain METHOD URL",
		Short: "Say what would become of a request, and why",
		Long: "explain says which route a request takes and why not the others, which limits it\n" +
			"counts under and what remains of them, the session's rule, the cache's key and who\n" +
			"answers. It consumes nothing. What remains is read from the policy's Redis where it\n" +
			"has one, or with --live from the running gateway.",
		Args: cobra.ExactArgs(2),
		RunE: func(cmd *cobra.Command, args []string) error {
			q.Method, q.URL, q.Header = args[0], args[1], http.Header{}
			if !strings.Contains(q.URL, "://") && !strings.HasPrefix(q.URL, "/") {
				q.URL = "http://" + q.URL
			}
			for _, line := range headers {
				name, value, err := admin.ParseHeader(line)
				if err != nil {
					return err
				}
				q.Header.Add(name, value)
			}
			if format != "text" && format != "json" {
				return fmt.Errorf("--format %s is not known; use text or json", format)
			}
			ask := explainOffline
			if live {
				ask = explainLive
			}
			e, err := ask(cmd, &flags, q, headers)
			if err != nil {
				return failed(err)
			}
			if format == "json" {
				out := json.NewEncoder(cmd.OutOrStdout())
				out.SetIndent("", "  ")
				return failed(out.Encode(e))
			}
			return failed(writeExplanation(cmd.OutOrStdout(), e))
		},
	}
	flags.add(cmd.Flags())
	cmd.Flags().StringVar(&q.IP, "ip", "", "the `address` that the request comes from: the client, or a trusted proxy")
	cmd.Flags().StringVar(&q.Account, "account", "", "the `account` that the app will say was tried to log in to, for limits by account")
	cmd.Flags().StringArrayVarP(&headers, "header", "H", nil, "a request header, `'Name: value'`")
	cmd.Flags().StringVar(&q.Body, "body", "", "the request's `body`, which the cache's key has of a QUERY")
	cmd.Flags().BoolVar(&live, "live", false, "ask the running gateway")
	cmd.Flags().StringVar(&format, "format", "text", "text or json")
	return cmd
}

// explainOffline asks a gateway of its own that never listens.
func explainOffline(cmd *cobra.Command, flags *adminFlags, q admin.Question, _ []string) (*pipeline.Explanation, error) {
	policy, err := loadPolicy(cmd, flags.files)
	if err != nil {
		return nil, err
	}
	s, err := server.New(server.Options{Policy: policy, Logger: slog.New(slog.DiscardHandler), AccessLog: io.Discard})
	if err != nil {
		return nil, err
	}
	defer func() { _ = s.Shutdown(context.Background()) }() // nothing is in flight
	return s.Explain(cmd.Context(), pipeline.Question(q))
}

func explainLive(cmd *cobra.Command, flags *adminFlags, q admin.Question, headers []string) (*pipeline.Explanation, error) {
	api, err := flags.open()
	if err != nil {
		return nil, err
	}
	query := url.Values{"method": {q.Method}, "url": {q.URL}, "header": headers}
	if q.IP != "" {
		query.Set("ip", q.IP)
	}
	if q.Account != "" {
		query.Set("account", q.Account)
	}
	if q.Body != "" {
		query.Set("body", q.Body)
	}
	text, err := api.call(cmd.Context(), http.MethodGet, "/explain?"+query.Encode(), nil)
	if err != nil {
		return nil, err
	}
	e := new(pipeline.Explanation)
	if err := json.Unmarshal(text, e); err != nil {
		return nil, fmt.Errorf("the gateway's answer is no explanation: %w", err)
	}
	return e, nil
}

// writeExplanation writes for people: a paragraph for each part of the way.
func writeExplanation(out io.Writer, e *pipeline.Explanation) error {
	w := &lines{out: out}
	w.line("request", "%s %s%s%s from %s", e.Method, e.Host, e.Path, query(e.Query), e.Client)
	if e.Denied != "" {
		w.line("denied", "the client's network %s", e.Denied)
	}
	if e.Route != "" {
		w.line("route", "%s (%s)", e.Route, e.Pattern)
	}
	for _, o := range e.Others {
		w.line("", "not %s: %s", o.Route, o.Why)
	}
	if e.APIKey != "" {
		w.line("API key", "of client %s", e.APIKey)
	}
	for i, l := range e.Limits {
		title := ""
		if i == 0 {
			title = "limits"
		}
		w.line(title, "%s", limitText(l))
	}
	if e.Session != "" {
		w.line("session", "%s", e.Session)
	}
	if e.Queue != "" {
		w.line("queue", "%s", e.Queue)
	}
	if e.Cache != "" {
		w.line("cache", "rule %s", e.Cache)
		if e.CacheKey != nil {
			w.line("", "key %s", strings.Join(e.CacheKey, " | "))
		}
		if e.Bypass != "" {
			w.line("", "goes past it: %s", e.Bypass)
		}
	}
	if e.Compress != "" {
		w.line("compress", "%s", e.Compress)
	}
	if e.Answer != "" {
		w.line("answer", "%s", e.Answer)
	}
	if e.Forward != "" {
		w.line("", "forwarded as %s", e.Forward)
	}
	for _, s := range e.Servers {
		w.line("", "%s", s)
	}
	for _, s := range e.Backups {
		w.line("", "%s, while no other can answer", s)
	}
	if e.Balance != "" {
		w.line("", "chosen by %s", e.Balance)
	}
	if e.Retried != nil {
		w.line("", "retried after %s", strings.Join(e.Retried, ", "))
	}
	if e.Refused != "" {
		w.line("outcome", "%d: %s", e.Status, e.Refused)
	} else {
		w.line("outcome", "it may pass")
	}
	return w.err
}

func limitText(l pipeline.ExplainedLimit) string {
	text := fmt.Sprintf("%s: %d per %s by %s (%s)", l.Name, l.Requests, l.Window, strings.Join(l.KeyedBy, "+"), l.Algorithm)
	if l.Concurrent > 0 {
		text = fmt.Sprintf("%s: %d at once by %s", l.Name, l.Concurrent, strings.Join(l.KeyedBy, "+"))
	}
	if l.Plan != "" {
		text += ", plan " + l.Plan
	}
	if l.Burst > 0 {
		text += fmt.Sprintf(", burst %d", l.Burst)
	}
	if l.DryRun {
		text += ", dry run"
	}
	switch {
	case l.Unknown != "":
		return text + "; " + l.Unknown
	case l.Banned:
		text += fmt.Sprintf("; banned, for %d s more", l.RetryAfter)
	case l.Admits:
		text += fmt.Sprintf("; %d remain", l.Remaining)
	case l.Closed:
		return text + "; admits none"
	case l.Waits:
		text += fmt.Sprintf("; waits up to %v for the answers to others, then denied", ratelimit.MaxWait)
	default:
		text += fmt.Sprintf("; denied, retry after %d s", l.RetryAfter)
	}
	return text + fmt.Sprintf(" for %s (in %s)", strings.Join(l.Key, "+"), l.From)
}

func query(q string) string {
	if q == "" {
		return ""
	}
	return "?" + q
}

// lines writes titled lines and remembers the first error.
type lines struct {
	out io.Writer
	err error
}

func (l *lines) line(title, format string, args ...any) {
	_, err := fmt.Fprintf(l.out, "%-9s %s\n", title, fmt.Sprintf(format, args...))
	l.err = errors.Join(l.err, err)
}
