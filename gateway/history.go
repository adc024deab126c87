package main

import (
	"encoding/json"
	"fmt"
	"net/http"
	"strconv"
	"text/tabwriter"
	"time"

	"github.com/headgate/headgate/gateway/admin"
	"github.com/spf13/cobra"
)

func newHistory() *cobra.Command {
	var flags adminFlags
	cmd := &cobra.Command{
		Use:   "history",
		Short: "List the last policies that the running gateway has run",
		Args:  cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			api, err := flags.open()
			if err != nil {
				return failed(err)
			}
			text, err := api.call(cmd.Context(), http.MethodGet, "/policy/history", nil)
			if err != nil {
				return failed(err)
			}
			var all []admin.Revision
			if err := json.Unmarshal(text, &all); err != nil {
				return failed(fmt.Errorf("the gateway's answer is not a history: %w", err))
			}
			w := tabwriter.NewWriter(cmd.OutOrStdout(), 0, 0, 2, ' ', 0)
			for _, r := range all {
				mark := ""
				switch {
				case r.Held:
					mark = "running, holds until the policy's files change"
				case r.Running:
					mark = "running"
				}
				fmt.Fprintf(w, "%d\t%s\t%.12s\t%s\t%s\n", r.Number, r.Time.Format(time.RFC3339), r.Hash, r.By, mark)
			}
			return failed(w.Flush())
		},
	}
	flags.add(cmd.Flags())
	return cmd
}

func newRollback() *cobra.Command {
	var flags adminFlags
	cmd := &cobra.Command{
		Use:   "rollback N",
		Short: "Have the running gateway run policy N of its history again",
		Long: "rollback has the running gateway run a policy of its history again. It holds until\n" +
			"the policy's files change, or until `headgate reload --file`; SIGHUP does not end it,\n" +
			"a restart does. The files stay as they are.",
		Args: cobra.ExactArgs(1),
		RunE: func(cmd *cobra.Command, args []string) error {
			number, err := strconv.Atoi(args[0])
			if err != nil {
				return fmt.Errorf("%q is not a number of `headgate history`", args[0])
			}
			api, err := flags.open()
			if err != nil {
				return failed(err)
			}
			text, err := api.call(cmd.Context(), http.MethodPost, "/policy/rollback?to="+strconv.Itoa(number), nil)
			if err != nil {
				return failed(err)
			}
			var r admin.Running
			if err := json.Unmarshal(text, &r); err != nil {
				return failed(fmt.Errorf("the gateway's answer to the rollback is not JSON: %w", err))
			}
			if !r.Held {
				_, err = fmt.Fprintf(cmd.OutOrStdout(), "policy %d runs, which is what the files say\n", r.Number)
				return failed(err)
			}
			_, err = fmt.Fprintln(cmd.OutOrStdout(), r.Note)
			return failed(err)
		},
	}
	flags.add(cmd.Flags())
	return cmd
}
