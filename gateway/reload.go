package main

import (
	"encoding/json"
	"fmt"
	"net/http"

	"github.com/headgate/headgate/gateway/admin"
	"github.com/spf13/cobra"
)

func newReload() *cobra.Command {
	var flags adminFlags
	var file bool
	cmd := &cobra.Command{
		Use:   "reload [--file]",
		Short: "Have the running gateway load its policy's files",
		Long: "reload has the running gateway load its policy's files, and run what they say if\n" +
			"that differs from what runs. While a rollback holds and the files have not changed\n" +
			"since, it fails; --file runs the files all the same, and ends the rollback.",
		Args: cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			api, err := flags.open()
			if err != nil {
				return failed(err)
			}
			target := "/policy/reload"
			if file {
				target += "?file=true"
			}
			text, err := api.call(cmd.Context(), http.MethodPost, target, nil)
			if err != nil {
				return failed(err)
			}
			var r admin.Reloaded
			if err := json.Unmarshal(text, &r); err != nil {
				return failed(fmt.Errorf("the gateway's answer to the reload is not JSON: %w", err))
			}
			said := "policy %d runs now (%.12s)\n"
			if !r.Reloaded {
				said = "nothing to reload: policy %d, which runs, is what the files say (%.12s)\n"
			}
			_, err = fmt.Fprintf(cmd.OutOrStdout(), said, r.Number, r.Hash)
			return failed(err)
		},
	}
	flags.add(cmd.Flags())
	cmd.Flags().BoolVar(&file, "file", false, "run the files even where a rollback holds, and end it")
	return cmd
}
