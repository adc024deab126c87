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
				return failed(fmt.Errorf("the gateway's answer is no history: %w", err))
			}
			w := tabwriter.NewWriter(cmd.OutOrStdout(), 0, 0, 2, ' ', 0)
			for _, r := range all {
				mark := ""
				if r.Running {
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
		Long: "rollback has the running gateway run a policy of its history again, until the\n" +
			"next reload. The policy file stays as it is.",
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
			_, err = api.call(cmd.Context(), http.MethodPost, "/policy/rollback?to="+strconv.Itoa(number), nil)
			return failed(err)
		},
	}
	flags.add(cmd.Flags())
	return cmd
}
