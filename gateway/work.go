package main

import "github.com/spf13/cobra"

func newWork() *cobra.Command {
	o := serving{work: true}
	cmd := &cobra.Command{
		Use:   "work",
		Short: "Do the jobs of the policy's queues, without a public listener",
		Long: "work does jobs and runs schedules until SIGTERM or SIGINT, as serve does with jobs.work: on, and serves\n" +
			"no clients. Jobs that run have server.shutdown_grace to end; then they go back to their queues\n" +
			"at once. It has the policy's admin listener: where serve runs on the same machine, give it another\n" +
			"address, or none. The policy is reloaded as with serve.",
		Args: cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error { return o.run(cmd) },
	}
	policyFlag(cmd.Flags(), &o.files)
	cmd.Flags().BoolVar(&o.watch, "watch", true, "reload the policy when its files change")
	cmd.Flags().StringVar(&o.adminListen, "admin-listen", "", "`address` of the admin listener, or off, instead of what the policy says")
	return cmd
}
