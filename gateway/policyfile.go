package main

import (
	"github.com/headgate/headgate/policies"
	"github.com/spf13/cobra"
	"github.com/spf13/pflag"
)

const defaultPolicy = "./headgate.yaml"

// policyFlag adds -p.
func policyFlag(flags *pflag.FlagSet, files *[]string) {
	flags.StringArrayVarP(files, "policy", "p", []string{defaultPolicy}, "policy `file`; several are read as one")
}

// loadPolicy loads a policy, shows what is wrong or doubtful about it, and
// fails if that is an error.
func loadPolicy(cmd *cobra.Command, files []string) (*policies.Policy, error) {
	p, found := policies.LoadFiles(files, policies.LoadOptions{})
	writeDiagnostics(cmd.ErrOrStderr(), found)
	if found.HasErrors() {
		return nil, errSaid
	}
	return p, nil
}
