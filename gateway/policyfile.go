package main

import (
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"

	"github.com/headgate/headgate/policies"
	"github.com/spf13/cobra"
	"github.com/spf13/pflag"
)

const defaultPolicy = "./headgate.yaml"

// policyFlag adds -p.
func policyFlag(flags *pflag.FlagSet, files *[]string) {
	flags.StringArrayVarP(files, "policy", "p", []string{defaultPolicy}, "policy `file`; several are read as one")
}

// hintWithoutPolicy says how to begin where the policy by default is not there.
func hintWithoutPolicy(w io.Writer, files []string) {
	if len(files) != 1 || files[0] != defaultPolicy {
		return
	}
	if _, err := os.Stat(defaultPolicy); errors.Is(err, fs.ErrNotExist) {
		fmt.Fprintln(w, "Write a policy to begin with by 'headgate init', or name yours with -p FILE. See 'headgate --help'.")
	}
}

// loadPolicy loads a policy, shows what is wrong or doubtful about it, and
// fails if that is an error.
func loadPolicy(cmd *cobra.Command, files []string) (*policies.Policy, error) {
	p, found := policies.LoadFiles(files, policies.LoadOptions{})
	writeDiagnostics(cmd.ErrOrStderr(), found)
	if found.HasErrors() {
		hintWithoutPolicy(cmd.ErrOrStderr(), files)
		return nil, errSaid
	}
	return p, nil
}
