package main

import (
	"net/http"
	"time"

	"github.com/spf13/cobra"
)

func newProbe() *cobra.Command {
	var flags adminFlags
	cmd := &cobra.Command{
		Use:   "probe",
		Short: "Exit 0 when the local gateway is ready (for container health checks)",
		Args:  cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			api, err := flags.open()
			if err != nil {
				return failed(err)
			}
			api.client.Timeout = 5 * time.Second
			_, err = api.call(cmd.Context(), http.MethodGet, "/readyz", nil)
			return failed(err)
		},
	}
	flags.add(cmd.Flags())
	return cmd
}
