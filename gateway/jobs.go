package main

import (
	"fmt"
	"io"
	"net/http"
	"net/url"
	"text/tabwriter"
	"time"

	"github.com/headgate/headgate/gateway/admin"
	"github.com/headgate/headgate/middleware/jobs"
	"github.com/spf13/cobra"
)

func newJobs() *cobra.Command {
	var flags adminFlags
	var asJSON bool
	var status string
	var limit, offset int
	cmd := &cobra.Command{
		Use:   "jobs [QUEUE] [--status S]",
		Short: "List queues, or a queue's jobs; show, retry and cancel jobs, pause and resume queues",
		Long: "jobs lists the queues and how many jobs each has, or the jobs of one queue: those that run, are due, wait\n" +
			"for their time, and have failed. --status lists those of one status: queued, waiting, running, done,\n" +
			"failed or cancelled. All instances that share a Redis share the queues.",
		Args: cobra.MaximumNArgs(1),
		RunE: func(cmd *cobra.Command, args []string) error {
			if len(args) == 0 {
				if status != "" {
					return fmt.Errorf("name the queue whose jobs are to be listed: headgate jobs QUEUE --status %s", status)
				}
				return ask(cmd, &flags, asJSON, question{method: http.MethodGet, path: "/jobs", what: "a list of queues"}, listQueues)
			}
			query := url.Values{"limit": {fmt.Sprint(limit)}}
			if status != "" {
				query.Set("status", status)
			}
			if offset > 0 {
				query.Set("offset", fmt.Sprint(offset))
			}
			q := question{method: http.MethodGet, path: "/jobs/" + url.PathEscape(args[0]) + "?" + query.Encode(), what: "a list of jobs"}
			return ask(cmd, &flags, asJSON, q, listJobs)
		},
	}
	flags.add(cmd.Flags())
	jsonFlag(cmd, &asJSON)
	cmd.Flags().StringVar(&status, "status", "", "list the jobs with this `status`")
	cmd.Flags().IntVar(&limit, "limit", 100, "how many jobs to list at most")
	cmd.Flags().IntVar(&offset, "offset", 0, "how many jobs of the status to leave out first")
	cmd.AddCommand(
		newJobCommand("show ID", "Show a job", "show prints what is known of a job, but for its body and its headers.", http.MethodGet, ""),
		newJobCommand("cancel ID", "Cancel a job", "cancel cancels a job that waits; one that runs is interrupted. The app may have done some of it.", http.MethodDelete, ""),
		newJobsRetry(), newJobsPause("pause", "Begin no more jobs of a queue, on any instance; those that run go on"), newJobsPause("resume", "Begin jobs of a queue again"),
	)
	return cmd
}

func listQueues(out io.Writer, all []admin.QueueState) error {
	if len(all) == 0 {
		_, err := fmt.Fprintln(out, "the policy has no queues")
		return err
	}
	w := tabwriter.NewWriter(out, 0, 0, 2, ' ', 0)
	fmt.Fprintln(w, "QUEUE\tQUEUED\tWAITING\tRUNNING\tFAILED\tDONE\tCANCELLED\tOLDEST\tSTATE")
	for _, q := range all {
		fmt.Fprintf(w, "%s\t%d\t%d\t%d of %d\t%d\t%d\t%d\t%s\t%s\n", q.Queue, q.Queued, q.Waiting, q.Running, q.Concurrency, q.Failed, q.Done, q.Cancelled, forSeconds(q.Oldest), queueState(q))
	}
	return w.Flush()
}

func queueState(q admin.QueueState) string {
	switch {
	case q.Paused:
		return "paused"
	case q.Slowed > 0:
		return "slowed for " + forSeconds(q.Slowed)
	}
	return "-"
}

// forSeconds writes seconds as a duration; "-" for none.
func forSeconds(s float64) string {
	if s <= 0 {
		return "-"
	}
	return time.Duration(s * float64(time.Second)).Round(time.Second).String()
}

func listJobs(out io.Writer, list admin.QueueJobs) error {
	if err := listQueues(out, []admin.QueueState{list.QueueState}); err != nil || len(list.Jobs) == 0 {
		return err
	}
	fmt.Fprintln(out)
	w := tabwriter.NewWriter(out, 0, 0, 2, ' ', 0)
	fmt.Fprintln(w, "JOB\tSTATUS\tATTEMPTS\tCREATED\tOF\tREQUEST\tREASON")
	for i := range list.Jobs {
		j := &list.Jobs[i]
		fmt.Fprintf(w, "%s\t%s\t%d\t%s\t%s\t%s\t%s\n", j.ID, j.Status, j.Attempts, j.Created.Format(time.RFC3339), printable(jobOwner(j)), printable(j.Method+" "+j.URL), printable(j.Reason))
	}
	if err := w.Flush(); err != nil || !list.More {
		return err
	}
	_, err := fmt.Fprintln(out, "and more: --status, --limit and --offset choose")
	return err
}

func jobOwner(j *admin.Job) string {
	switch {
	case j.User != "":
		return j.User
	case j.Client != "":
		return j.Client
	case j.Address != "":
		return j.Address
	case j.Schedule != "":
		return "schedule " + j.Schedule
	}
	return ""
}

// jobPath is where the admin API has a job.
func jobPath(id string) (string, error) {
	queue, ok := jobs.QueueOf(id)
	if !ok {
		return "", fmt.Errorf("%q is not the ID of a job", id)
	}
	return "/jobs/" + url.PathEscape(queue) + "/" + url.PathEscape(id), nil
}

// newJobCommand makes a command that asks about one job, and prints it.
func newJobCommand(use, short, long, method, below string) *cobra.Command {
	var flags adminFlags
	var asJSON bool
	cmd := &cobra.Command{
		Use: use, Short: short, Long: long, Args: cobra.ExactArgs(1),
		RunE: func(cmd *cobra.Command, args []string) error {
			path, err := jobPath(args[0])
			if err != nil {
				return err
			}
			return ask(cmd, &flags, asJSON, question{method: method, path: path + below, what: "a job"}, showJob)
		},
	}
	flags.add(cmd.Flags())
	jsonFlag(cmd, &asJSON)
	return cmd
}

func showJob(out io.Writer, j admin.Job) error {
	w := &lines{out: out}
	w.line("job", "%s", j.ID)
	w.line("status", "%s", j.Status)
	if j.Cancelled {
		w.line("", "it is being cancelled")
	}
	if j.Place > 0 {
		w.line("place", "%d, about %s until it is done", j.Place, forSeconds(j.Estimate))
	}
	if j.Reason != "" {
		w.line("reason", "%s", printable(j.Reason))
	}
	w.line("request", "%s of upstream %s", printable(j.Method+" "+j.URL), j.Upstream)
	if j.Host != "" {
		w.line("host", "%s", printable(j.Host))
	}
	if j.Route != "" {
		w.line("route", "%s", printable(j.Route))
	}
	if owner := jobOwner(&j); owner != "" {
		w.line("of", "%s", printable(owner))
	}
	if j.After != "" {
		w.line("after", "%s", j.After)
	}
	if j.Key != "" {
		w.line("key", "%s", printable(j.Key))
	}
	w.line("attempts", "%d", j.Attempts)
	if j.Lost > 0 {
		w.line("", "and %d times it came back without one", j.Lost)
	}
	if j.Answered > 0 {
		w.line("", "the app answered %d last", j.Answered)
	}
	for _, at := range []struct {
		title string
		time.Time
	}{{"created", j.Created}, {"due", j.Due}, {"started", j.Started}, {"finished", j.Finished}, {"kept until", j.Expires}} {
		if !at.IsZero() {
			w.line(at.title, "%s", at.Format(time.RFC3339))
		}
	}
	w.line("bytes", "%d", j.Bytes)
	return w.err
}

func newJobsRetry() *cobra.Command {
	var flags adminFlags
	var asJSON bool
	cmd := &cobra.Command{
		Use:   "retry ID | QUEUE",
		Short: "Put a failed job back in its queue, or all that failed of a queue",
		Long:  "retry puts a job that has failed back in its queue, with all of its attempts, or all jobs of a queue that have failed.",
		Args:  cobra.ExactArgs(1),
		RunE: func(cmd *cobra.Command, args []string) error {
			if path, err := jobPath(args[0]); err == nil {
				return ask(cmd, &flags, asJSON, question{method: http.MethodPost, path: path + "/retry", what: "a job"}, showJob)
			}
			q := question{method: http.MethodPost, path: "/jobs/" + url.PathEscape(args[0]) + "/retry", what: "how many jobs are retried"}
			return ask(cmd, &flags, asJSON, q, func(out io.Writer, answer struct{ Retried int }) error {
				_, err := fmt.Fprintf(out, "%d failed jobs of %s are in the queue again\n", answer.Retried, args[0])
				return err
			})
		},
	}
	flags.add(cmd.Flags())
	jsonFlag(cmd, &asJSON)
	return cmd
}

func newJobsPause(verb, short string) *cobra.Command {
	var flags adminFlags
	var asJSON bool
	cmd := &cobra.Command{
		Use: verb + " QUEUE", Short: short, Args: cobra.ExactArgs(1),
		RunE: func(cmd *cobra.Command, args []string) error {
			q := question{method: http.MethodPost, path: "/jobs/" + url.PathEscape(args[0]) + "/" + verb, what: "a queue"}
			return ask(cmd, &flags, asJSON, q, func(out io.Writer, q admin.QueueState) error { return listQueues(out, []admin.QueueState{q}) })
		},
	}
	flags.add(cmd.Flags())
	jsonFlag(cmd, &asJSON)
	return cmd
}
