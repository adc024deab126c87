package main

import (
	_ "embed"
	"errors"
	"fmt"
	"io/fs"
	"os"

	"github.com/spf13/cobra"
)

// starter is the policy that init writes.
//
//go:embed starter.yaml
var starter string

func newInit() *cobra.Command {
	return &cobra.Command{
		Use:   "init [FILE]",
		Short: "Write a commented policy to begin with",
		Long: "init writes a policy for two app servers, with comments that say what else there is, to\n" +
			"FILE or " + defaultPolicy + ". It overwrites nothing.",
		Args: cobra.MaximumNArgs(1),
		RunE: func(cmd *cobra.Command, args []string) error {
			file := defaultPolicy
			if len(args) == 1 {
				file = args[0]
			}
			if err := writeNew(file, starter); errors.Is(err, fs.ErrExist) {
				return failed(fmt.Errorf("%s is there already, and is left as it is; name another file", file))
			} else if err != nil {
				return failed(err)
			}
			_, err := fmt.Fprintf(cmd.OutOrStdout(), "%s is written. Put in your servers' addresses, then run:\n  headgate check %s\n  headgate serve -p %s\n", file, file, file)
			return failed(err)
		},
	}
}

// writeNew writes a file that must not be there yet.
func writeNew(name, text string) error {
	f, err := os.OpenFile(name, os.O_WRONLY|os.O_CREATE|os.O_EXCL, 0o644)
	if err != nil {
		return err
	}
	_, err = f.WriteString(text)
	return errors.Join(err, f.Close())
}
