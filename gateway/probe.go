package main

import (
	"fmt"
	"io"
	"net/http"
	"strings"
	"time"

	"github.com/spf13/cobra"
)

func newProbe() *cobra.Command {
	var admin string
	var files []string
	cmd := &cobra.Command{
		Use:   "probe",
		Short: "Exit 0 when the local gateway is ready (for container health checks)",
		Args:  cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			base, _, err := findAdmin(admin, files)
			if err != nil {
				return failed(err)
			}
			client := &http.Client{Timeout: 5 * time.Second}
			res, err := client.Get(base + "/readyz")
			if err != nil {
				return failed(fmt.Errorf("the gateway cannot be reached: %w", err))
			}
			defer res.Body.Close()
			text, _ := io.ReadAll(io.LimitReader(res.Body, 1<<10))
			if res.StatusCode != http.StatusOK {
				return failed(fmt.Errorf("the gateway is not ready: %s", strings.TrimSpace(string(text))))
			}
			return nil
		},
	}
	policyFlag(cmd.Flags(), &files)
	adminFlag(cmd.Flags(), &admin)
	return cmd
}
