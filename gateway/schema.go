package main

import (
	"github.com/headgate/headgate/policies"
	"github.com/spf13/cobra"
)

func newSchema() *cobra.Command {
	return &cobra.Command{
		Use:   "schema",
		Short: "Print the policy file's JSON Schema, for editors",
		Long: "schema prints the JSON Schema of policy files. With it in a file, editors with the\n" +
			"YAML language server complete and explain every key:\n\n" +
			"  # yaml-language-server: $schema=schema.json",
		Args: cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			_, err := cmd.OutOrStdout().Write(policies.Schema())
			return failed(err)
		},
	}
}
