package main

import (
	"encoding/json"
	"fmt"
	"io"
	"maps"
	"net/http"
	"net/url"
	"slices"
	"text/tabwriter"

	"github.com/headgate/headgate/gateway/admin"
	"github.com/headgate/headgate/middleware/proxy"
	"github.com/spf13/cobra"
)

func newUpstreams() *cobra.Command {
	var flags adminFlags
	var asJSON bool
	cmd := &cobra.Command{
		Use:   "upstreams [--json]",
		Short: "List the app servers of the running gateway; drain and restore them",
		Long: "upstreams lists the app servers of one running gateway: their state (healthy, unhealthy,\n" +
			"ejected or draining), requests in flight there, weight, and the requests that wait for a\n" +
			"server of the upstream. Each instance of the gateway has its own view.",
		Args: cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			return ask(cmd, &flags, asJSON, question{method: http.MethodGet, path: "/upstreams", what: "a list of upstreams"}, listServers)
		},
	}
	flags.add(cmd.Flags())
	cmd.Flags().BoolVar(&asJSON, "json", false, "print what the admin API answers, which says more")
	cmd.AddCommand(newDrain(), newRestore())
	return cmd
}

func listServers(out io.Writer, all map[string][]proxy.ServerStatus) error {
	w := tabwriter.NewWriter(out, 0, 0, 2, ' ', 0)
	fmt.Fprintln(w, "UPSTREAM\tURL\tADDRESS\tSTATE\tIN FLIGHT\tWEIGHT\tWAITING")
	for _, name := range slices.Sorted(maps.Keys(all)) {
		for _, s := range all[name] {
			address := s.Address
			if address == "" {
				address = "-"
			}
			fmt.Fprintf(w, "%s\t%s\t%s\t%s\t%d\t%d\t%d\n", name, s.URL, address, s.State, s.Active, s.Weight, s.Waiting)
		}
	}
	return w.Flush()
}

func newDrain() *cobra.Command {
	var flags adminFlags
	var force bool
	cmd := &cobra.Command{
		Use:   "drain NAME URL [--force]",
		Short: "Send an app server no new requests",
		Long: "drain has the running gateway send an app server of upstream NAME no new requests, at all\n" +
			"addresses of its name. Those in flight end, and health checks go on. It stays drained over\n" +
			"reloads, until `headgate upstreams restore`, until the policy does not have the server any\n" +
			"more, or until the gateway restarts. It is for one instance of the gateway: run it against\n" +
			"each. The last healthy server of an upstream is drained with --force alone.",
		Args: cobra.ExactArgs(2),
		RunE: func(cmd *cobra.Command, args []string) error {
			servers, err := changeServer(cmd, &flags, "drain", args[0], admin.ServerChange{URL: args[1], Force: force})
			if err != nil {
				return failed(err)
			}
			_, err = fmt.Fprintf(cmd.OutOrStdout(), "%s gets no new requests from this gateway; %d in flight. It stays drained until "+
				"`headgate upstreams restore`, until the policy does not have it any more, or until the gateway restarts\n", servers[0].URL, inFlight(servers))
			return failed(err)
		},
	}
	flags.add(cmd.Flags())
	cmd.Flags().BoolVar(&force, "force", false, "drain it even if no other healthy server is left")
	return cmd
}

func newRestore() *cobra.Command {
	var flags adminFlags
	cmd := &cobra.Command{
		Use:   "restore NAME URL",
		Short: "Send a drained app server requests again",
		Long: "restore has the running gateway send an app server of upstream NAME requests again that\n" +
			"`headgate upstreams drain` has drained, after a slow start if slow_start is configured. A\n" +
			"server whose weight is 0 in the policy comes back by another weight there.",
		Args: cobra.ExactArgs(2),
		RunE: func(cmd *cobra.Command, args []string) error {
			servers, err := changeServer(cmd, &flags, "restore", args[0], admin.ServerChange{URL: args[1]})
			if err != nil {
				return failed(err)
			}
			_, err = fmt.Fprintf(cmd.OutOrStdout(), "%s gets requests from this gateway again; it is %s\n", servers[0].URL, servers[0].State)
			return failed(err)
		},
	}
	flags.add(cmd.Flags())
	return cmd
}

// changeServer asks the gateway to drain or restore a server, and returns how it is then, at each of its addresses.
func changeServer(cmd *cobra.Command, flags *adminFlags, action, upstream string, change admin.ServerChange) ([]proxy.ServerStatus, error) {
	api, err := flags.open()
	if err != nil {
		return nil, err
	}
	text, err := api.call(cmd.Context(), http.MethodPost, "/upstreams/"+url.PathEscape(upstream)+"/"+action, change)
	if err != nil {
		return nil, err
	}
	var servers []proxy.ServerStatus
	if err := json.Unmarshal(text, &servers); err != nil || len(servers) == 0 {
		return nil, fmt.Errorf("the gateway's answer is not a list of servers: %q", text)
	}
	return servers, nil
}

func inFlight(servers []proxy.ServerStatus) (n int64) {
	for _, s := range servers {
		n += s.Active
	}
	return n
}
