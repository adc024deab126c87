package main

import (
	"fmt"
	"runtime"
	"runtime/debug"

	"github.com/spf13/cobra"
)

// version is set at build time: -ldflags "-X main.version=v1.2.3", as make build does.
var version = ""

// programVersion is what the gateway calls itself, in metrics too.
func programVersion() string {
	info, _ := debug.ReadBuildInfo()
	return buildVersion(version, info)
}

// buildVersion is the version that the build was given, or else the module's as
// the Go toolchain stamps it (with a pseudo-version of the commit), or else the
// commit. info is nil where there is none.
func buildVersion(given string, info *debug.BuildInfo) string {
	if given != "" {
		return given
	}
	if info == nil {
		return "(devel)"
	}
	if v := info.Main.Version; v != "" && v != "(devel)" {
		return v
	}
	revision := setting(info, "vcs.revision")
	if revision == "" {
		return "(devel)"
	}
	v := fmt.Sprintf("devel-%.12s", revision)
	if setting(info, "vcs.modified") == "true" {
		v += "+dirty"
	}
	return v
}

// buildDetails says what a bug report should have besides the version.
func buildDetails(info *debug.BuildInfo) string {
	details := ""
	if info != nil {
		if revision := setting(info, "vcs.revision"); revision != "" {
			details = fmt.Sprintf("commit %.12s", revision)
			if at := setting(info, "vcs.time"); at != "" {
				details += " of " + at
			}
			if setting(info, "vcs.modified") == "true" {
				details += ", modified"
			}
			details += ", "
		}
	}
	return fmt.Sprintf("%s%s %s/%s", details, runtime.Version(), runtime.GOOS, runtime.GOARCH)
}

func setting(info *debug.BuildInfo, key string) string {
	for _, s := range info.Settings {
		if s.Key == key {
			return s.Value
		}
	}
	return ""
}

func newVersion() *cobra.Command {
	return &cobra.Command{
		Use:   "version",
		Short: "Print the version, the commit and how it was built",
		Args:  cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			info, _ := debug.ReadBuildInfo()
			_, err := fmt.Fprintf(cmd.OutOrStdout(), "headgate %s (%s)\n", buildVersion(version, info), buildDetails(info))
			return failed(err)
		},
	}
}
