package main

import (
	"fmt"

	"github.com/headgate/headgate/policies"
	"github.com/spf13/cobra"
)

func newCheck() *cobra.Command {
	return &cobra.Command{
		Use:   "check FILE...",
		Short: "Check policy files and show everything that is wrong with them",
		Long: "check reads each policy file as serve would, and shows all errors and warnings as\n" +
			"file:line:column: what is wrong; how to mend it. It exits 1 if there is an error.",
		Args: cobra.MinimumNArgs(1),
		RunE: func(cmd *cobra.Command, files []string) error {
			wrong := false
			for _, file := range files {
				_, found := policies.Load(file, policies.LoadOptions{})
				writeDiagnostics(cmd.OutOrStdout(), found)
				if found.HasErrors() {
					wrong = true
				} else if _, err := fmt.Fprintf(cmd.OutOrStdout(), "%s: ok\n", file); err != nil {
					return failed(err)
				}
			}
			if wrong {
				return errSaid
			}
			return nil
		},
	}
}
