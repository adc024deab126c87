package main

import (
	"fmt"
	"io"
	"net/http"
	"net/url"
	"strconv"
	"strings"
	"text/tabwriter"

	"github.com/headgate/headgate/gateway/admin"
	"github.com/spf13/cobra"
)

func newLimits() *cobra.Command {
	var flags adminFlags
	var asJSON bool
	cmd := &cobra.Command{
		Use:   "limits [--json]",
		Short: "List who is denied or banned by limits now; reset a key of a limit",
		Long: "limits lists whom limits have denied within the last ten minutes and still deny, or have denied\n" +
			"within the last minute, and who is banned, counted over all instances that share the Redis:\n" +
			"the most denied of each instance, and the bans that last longest. Of headers, cookies and\n" +
			"parameters it shows four characters and a hash.",
		Args: cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			return ask(cmd, &flags, asJSON, question{method: http.MethodGet, path: "/limits", what: "a list of limits"}, listDenied)
		},
	}
	flags.add(cmd.Flags())
	jsonFlag(cmd, &asJSON)
	cmd.AddCommand(newLimitsReset())
	return cmd
}

func listDenied(out io.Writer, list admin.DeniedLimits) error {
	if list.Note != "" {
		fmt.Fprintln(out, list.Note)
	}
	if len(list.Limits) == 0 {
		_, err := fmt.Fprintln(out, "no limit denies any request")
		return err
	}
	shown := 0
	w := tabwriter.NewWriter(out, 0, 0, 2, ' ', 0)
	fmt.Fprintln(w, "LIMIT\tKEY\tDENIALS\tSTATE")
	for _, l := range list.Limits {
		for _, k := range l.Keys {
			if k.Banned {
				shown++
			}
			fmt.Fprintf(w, "%s\t%s\t%d\t%s\n", l.Limit, keyArguments(k.Key), k.Denials, deniedState(k))
		}
	}
	if err := w.Flush(); err != nil || list.Bans <= shown {
		return err
	}
	_, err := fmt.Fprintf(out, "and %d bans more\n", list.Bans-shown)
	return err
}

// keyArguments writes a key as `headgate limits reset` takes it.
func keyArguments(key []string) string {
	words := make([]string, len(key))
	for i, v := range key {
		if words[i] = v; v == "" || strings.ContainsFunc(v, func(r rune) bool { return r <= ' ' || r == 0x7f || strings.ContainsRune("\"'`$\\*?;&|<>()[]{}!#", r) }) {
			words[i] = strconv.Quote(v)
		}
	}
	return strings.Join(words, " ")
}

func deniedState(k admin.DeniedKey) string {
	switch {
	case k.Banned:
		return fmt.Sprintf("banned, %d s more", k.RetryAfter)
	case k.RetryAfter > 0:
		return fmt.Sprintf("denied, %d s more", k.RetryAfter)
	}
	return "was denied"
}

func newLimitsReset() *cobra.Command {
	var flags adminFlags
	cmd := &cobra.Command{
		Use:   "reset LIMIT KEY...",
		Short: "Forget what a key of a limit has consumed, and its ban, on every instance",
		Long: "reset forgets what is counted for one key of a limit, and its ban: on the gateway at once, on the other\n" +
			"instances within a second. KEY is the key's values in the order of the limit's key, as\n" +
			"`headgate limits` lists them, or in full.",
		Args: cobra.MinimumNArgs(2),
		RunE: func(cmd *cobra.Command, args []string) error {
			api, err := flags.open()
			if err != nil {
				return failed(err)
			}
			query := url.Values{"key": args[1:]}
			if _, err = api.call(cmd.Context(), http.MethodDelete, "/limits/"+url.PathEscape(args[0])+"?"+query.Encode(), nil); err != nil {
				return failed(err)
			}
			_, err = fmt.Fprintf(cmd.OutOrStdout(), "limit %s has forgotten %s\n", args[0], keyArguments(args[1:]))
			return failed(err)
		},
	}
	flags.add(cmd.Flags())
	return cmd
}
