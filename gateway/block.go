package main

import (
	"fmt"
	"io"
	"net/http"
	"net/url"
	"strings"
	"text/tabwriter"
	"time"

	"github.com/headgate/headgate/gateway/admin"
	"github.com/spf13/cobra"
)

func newBlock() *cobra.Command {
	var flags adminFlags
	var b admin.NewBlock
	var asJSON bool
	cmd := &cobra.Command{
		Use:   "block IP|NET [--for 1h] [--reason TEXT] [--force]",
		Short: "Refuse a network at run time, on every instance",
		Long: "block has every instance that shares the gateway's Redis answer 403 to an address or a\n" +
			"network, within a second, until it is unblocked or the time of --for is over. It says which\n" +
			"instances did not confirm that. An IPv6 address is its network, by server.ipv6_prefix.\n" +
			"A network wider than a /8 (IPv6: /32), one that holds a trusted proxy, and one that holds the\n" +
			"address that you call from, are blocked with --force alone. Networks to refuse for good\n" +
			"belong into server.deny.",
		Args: cobra.ExactArgs(1),
		RunE: func(cmd *cobra.Command, args []string) error {
			b.Network = args[0]
			return changeBlock(cmd, &flags, asJSON, http.MethodPost, "/blocks", b, func(c admin.BlockChange) string {
				return fmt.Sprintf("%s is blocked %s", c.Network, untilText(c.Until))
			})
		},
	}
	flags.add(cmd.Flags())
	cmd.Flags().StringVar(&b.For, "for", "", "how `long`, such as 90s, 1h or 7d; default: until it is unblocked")
	cmd.Flags().StringVar(&b.Reason, "reason", "", "why; `headgate blocks` shows it")
	cmd.Flags().BoolVar(&b.Force, "force", false, "block it though it is very wide, or holds a trusted proxy or your own address")
	jsonFlag(cmd, &asJSON)
	return cmd
}

func newUnblock() *cobra.Command {
	var flags adminFlags
	var asJSON bool
	cmd := &cobra.Command{
		Use:   "unblock IP|NET",
		Short: "End the block of a network, on every instance",
		Long: "unblock ends what `headgate block` has begun for the same address or network. Blocks of other\n" +
			"networks stay: it says which of them still hold this one.",
		Args: cobra.ExactArgs(1),
		RunE: func(cmd *cobra.Command, args []string) error {
			path := "/blocks/" + url.PathEscape(args[0])
			return changeBlock(cmd, &flags, asJSON, http.MethodDelete, path, nil, func(c admin.BlockChange) string {
				if len(c.StillBlockedBy) == 0 {
					return fmt.Sprintf("%s is not blocked any more", c.Network)
				}
				var still []string
				for _, n := range c.StillBlockedBy {
					still = append(still, n.String())
				}
				return fmt.Sprintf("%s has no block of its own any more, and is still refused as part of %s", c.Network, strings.Join(still, ", "))
			})
		},
	}
	flags.add(cmd.Flags())
	jsonFlag(cmd, &asJSON)
	return cmd
}

func newBlocks() *cobra.Command {
	var flags adminFlags
	var asJSON bool
	cmd := &cobra.Command{
		Use:   "blocks [--json]",
		Short: "List the networks that are blocked at run time",
		Args:  cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			return ask(cmd, &flags, asJSON, question{method: http.MethodGet, path: "/blocks", what: "a list of blocks"}, listBlocks)
		},
	}
	flags.add(cmd.Flags())
	jsonFlag(cmd, &asJSON)
	return cmd
}

func listBlocks(out io.Writer, list admin.BlockList) error {
	if list.Note != "" {
		fmt.Fprintln(out, list.Note)
	}
	if len(list.Blocks) == 0 {
		_, err := fmt.Fprintln(out, "no network is blocked")
		return err
	}
	w := tabwriter.NewWriter(out, 0, 0, 2, ' ', 0)
	fmt.Fprintln(w, "NETWORK\tUNTIL\tREASON\tBY\tSINCE")
	for _, b := range list.Blocks {
		until := "-"
		if !b.Until.IsZero() {
			until = b.Until.Format(time.RFC3339)
		}
		fmt.Fprintf(w, "%s\t%s\t%s\t%s\t%s\n", b.Network, until, orDash(b.Reason), orDash(b.By), b.Since.Format(time.RFC3339))
	}
	return w.Flush()
}

// changeBlock asks the gateway for a change of blocks, and says what came of it.
func changeBlock(cmd *cobra.Command, flags *adminFlags, asJSON bool, method, path string, body any, say func(admin.BlockChange) string) error {
	return ask(cmd, flags, asJSON, question{method, path, body, "a block"}, func(out io.Writer, c admin.BlockChange) error {
		_, err := fmt.Fprintln(out, say(c))
		if c.Note != "" {
			fmt.Fprintln(out, c.Note)
		}
		for _, u := range c.Unconfirmed {
			fmt.Fprintf(out, "instance %s has not confirmed it, and was last heard of %.1f s ago\n", u.Instance, u.Silent)
		}
		return err
	})
}

func untilText(until time.Time) string {
	if until.IsZero() {
		return "until it is unblocked"
	}
	return "until " + until.Format(time.RFC3339)
}

func orDash(s string) string {
	if s == "" {
		return "-"
	}
	return s
}
