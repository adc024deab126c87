package main

import (
	"encoding/json"
	"fmt"

	"github.com/headgate/headgate/policies"
	"github.com/spf13/cobra"
)

func newDiff() *cobra.Command {
	var format string
	cmd := &cobra.Command{
		Use:   "diff OLD NEW",
		Short: "Show what changes in meaning between two policies",
		Long: "diff shows what changes for clients and app servers: routes added, limits loosened\n" +
			"or tightened, caches dropped. What is only written differently is no change.",
		Args: cobra.ExactArgs(2),
		RunE: func(cmd *cobra.Command, args []string) error {
			var both [2]*policies.Policy
			for i, file := range args {
				p, found := policies.Load(file, policies.LoadOptions{})
				if found.HasErrors() {
					writeDiagnostics(cmd.ErrOrStderr(), found)
					return errSaid
				}
				both[i] = p
			}
			changes := policies.Diff(both[0], both[1])
			out := cmd.OutOrStdout()
			switch format {
			case "json":
				if changes == nil {
					changes = []policies.Change{}
				}
				e := json.NewEncoder(out)
				e.SetIndent("", "  ")
				return failed(e.Encode(changes))
			case "text":
			default:
				return fmt.Errorf("--format %s is not known; use text or json", format)
			}
			for _, c := range changes {
				fmt.Fprintln(out, c)
			}
			if len(changes) == 0 {
				fmt.Fprintln(out, "nothing changes in meaning")
			}
			return nil
		},
	}
	cmd.Flags().StringVar(&format, "format", "text", "text or json")
	return cmd
}
