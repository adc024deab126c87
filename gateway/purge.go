package main

import (
	"fmt"
	"net/http"

	"github.com/headgate/headgate/gateway/admin"
	"github.com/spf13/cobra"
)

// purged says what a purge did.
func purged(p admin.Purge) string {
	what := "everything"
	switch {
	case p.URL != "":
		what = "what is stored for " + p.URL
	case p.Prefix != "":
		what = "what is stored at and below " + p.Prefix
	case p.Tag != "":
		what = "what has the tag " + p.Tag
	case p.Group != "":
		what = "what is in the group " + p.Group + " of " + p.Origin
	}
	if p.Soft {
		return what + " is stale now, on every instance"
	}
	return what + " is purged, on every instance"
}

func newPurge() *cobra.Command {
	var flags adminFlags
	var p admin.Purge
	cmd := &cobra.Command{
		Use:   "purge (--url U | --prefix P | --tag T | --group G --origin O | --all) [--soft]",
		Short: "Remove cached responses, on every instance",
		Long: "purge removes cached responses through the admin API of one gateway. When it\n" +
			"returns, the purge is in force on every instance that shares its Redis.",
		Args: cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			api, err := flags.open()
			if err != nil {
				return failed(err)
			}
			if _, err = api.call(cmd.Context(), http.MethodPost, "/purge", p); err != nil {
				return failed(err)
			}
			_, err = fmt.Fprintln(cmd.OutOrStdout(), purged(p))
			return failed(err)
		},
	}
	flags.add(cmd.Flags())
	cmd.Flags().StringVar(&p.URL, "url", "", "what is stored for this whole `URL`, in all variants")
	cmd.Flags().StringVar(&p.Prefix, "prefix", "", "what is stored at or below this whole `URL`")
	cmd.Flags().StringVar(&p.Tag, "tag", "", "what carries this surrogate `tag` by Cache-Tag, Surrogate-Key or the policy; for Cache-Groups use --group")
	cmd.Flags().StringVar(&p.Group, "group", "", "what is in this cache `group` of the origin, by Cache-Groups (RFC 9875)")
	cmd.Flags().StringVar(&p.Origin, "origin", "", "the `origin` that the group belongs to, as clients see it: https://shop.example")
	cmd.Flags().BoolVar(&p.All, "all", false, "everything")
	cmd.Flags().BoolVar(&p.Soft, "soft", false, "mark as stale instead of removing")
	cmd.MarkFlagsOneRequired("url", "prefix", "tag", "group", "all")
	cmd.MarkFlagsMutuallyExclusive("url", "prefix", "tag", "group", "all")
	cmd.MarkFlagsRequiredTogether("group", "origin")
	return cmd
}
