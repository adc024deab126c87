package main

import (
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"text/tabwriter"
	"time"

	"github.com/headgate/headgate/middleware/session"
	"github.com/spf13/cobra"
)

func newSessions() *cobra.Command {
	var flags adminFlags
	var user string
	var asJSON bool
	cmd := &cobra.Command{
		Use:   "sessions --user U [--json]",
		Short: "List a user's live sessions, and end them",
		Long: "sessions lists the live sessions of a user at all hosts and instances, the newest first: their\n" +
			"reference, when they began, when they were last used (exact to a minute), the address and\n" +
			"the browser that they began with. It asks for the user, since sessions are kept in an index for\n" +
			"each user and in no other: to list all, Redis would have to be searched key by key.",
		Args: cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			if user == "" {
				return errors.New("name the user: headgate sessions --user U; there is no index of all sessions, and Redis is not searched for them")
			}
			return ask(cmd, &flags, asJSON, question{method: http.MethodGet, path: sessionsOf(user), what: "a list of sessions"}, func(out io.Writer, all []session.Info) error { return listSessions(out, user, all) })
		},
	}
	flags.add(cmd.Flags())
	cmd.Flags().StringVar(&user, "user", "", "the `user`, as the app names it in Headgate-Login")
	jsonFlag(cmd, &asJSON)
	cmd.AddCommand(newEndSessions())
	return cmd
}

func sessionsOf(user string) string { return "/sessions?user=" + url.QueryEscape(user) }

func listSessions(out io.Writer, user string, all []session.Info) error {
	if len(all) == 0 {
		_, err := fmt.Fprintf(out, "%s has no session\n", user)
		return err
	}
	w := tabwriter.NewWriter(out, 0, 0, 2, ' ', 0)
	fmt.Fprintln(w, "REFERENCE\tCREATED\tLAST SEEN\tADDRESS\tAGENT")
	for _, s := range all {
		fmt.Fprintf(w, "%s\t%s\t%s\t%s\t%s\n", s.Ref, s.Created.Format(time.RFC3339), s.Seen.Format(time.RFC3339), orDash(s.Addr), printable(s.Agent))
	}
	return w.Flush()
}

// printable quotes what a client has sent, if it would do more to a terminal than print.
func printable(text string) string {
	if quoted := fmt.Sprintf("%q", text); quoted != `"`+text+`"` {
		return quoted
	}
	return orDash(text)
}

func newEndSessions() *cobra.Command {
	var flags adminFlags
	var user string
	cmd := &cobra.Command{
		Use:   "end REF | --user U",
		Short: "End a session, or all sessions of a user",
		Long: "end ends the session with a reference, as `headgate sessions` and the access log show it, or all\n" +
			"sessions of a user, on every instance: from the next request on, and within two seconds where\n" +
			"a WebSocket or a stream is open. A reference that begins with - comes after --.",
		Args: func(_ *cobra.Command, args []string) error {
			if (user == "") != (len(args) == 1) || len(args) > 1 {
				return errors.New("name one session, or a user: headgate sessions end REF, or headgate sessions end --user U")
			}
			return nil
		},
		RunE: func(cmd *cobra.Command, args []string) error {
			api, err := flags.open()
			if err != nil {
				return failed(err)
			}
			if user == "" {
				if _, err = api.call(cmd.Context(), http.MethodDelete, "/sessions/"+url.PathEscape(args[0]), nil); err == nil {
					_, err = fmt.Fprintf(cmd.OutOrStdout(), "the session %s has ended\n", args[0])
				}
				return failed(err)
			}
			text, err := api.call(cmd.Context(), http.MethodDelete, sessionsOf(user), nil)
			if err != nil {
				return failed(err)
			}
			var answer struct{ Revoked int }
			if err := json.Unmarshal(text, &answer); err != nil {
				return failed(fmt.Errorf("the gateway's answer does not say how many sessions have ended: %w", err))
			}
			_, err = fmt.Fprintln(cmd.OutOrStdout(), endedText(user, answer.Revoked))
			return failed(err)
		},
	}
	flags.add(cmd.Flags())
	cmd.Flags().StringVar(&user, "user", "", "end all sessions of this `user`")
	return cmd
}

func endedText(user string, n int) string {
	switch n {
	case 0:
		return user + " had no session"
	case 1:
		return "the session of " + user + " has ended"
	}
	return fmt.Sprintf("%d sessions of %s have ended", n, user)
}
