package main

import (
	"errors"
	"fmt"
	"net"
	"os"
	"strings"

	"github.com/headgate/headgate/policies"
	"github.com/spf13/pflag"
)

// Commands that talk to a running gateway find it by its policy, or by --admin
// and HEADGATE_ADMIN_TOKEN.

func adminFlag(flags *pflag.FlagSet, admin *string) {
	flags.StringVar(admin, "admin", "", "`URL` of the gateway's admin listener, instead of what the policy says; its token is then in HEADGATE_ADMIN_TOKEN")
}

// findAdmin returns the base URL and the token of the admin listener.
func findAdmin(admin string, files []string) (base, token string, err error) {
	if admin != "" {
		if !strings.Contains(admin, "://") {
			admin = "http://" + admin
		}
		return strings.TrimSuffix(admin, "/"), os.Getenv("HEADGATE_ADMIN_TOKEN"), nil
	}
	p, found := policies.LoadFiles(files, policies.LoadOptions{})
	if err := found.Err(); err != nil {
		return "", "", fmt.Errorf("to find the gateway, its policy is needed, or --admin URL: %w", err)
	}
	if p.Server.Admin.Listen == "off" {
		return "", "", errors.New("the policy has no admin listener: server.admin.listen is off")
	}
	host, port, err := net.SplitHostPort(p.Server.Admin.Listen)
	if err != nil {
		return "", "", fmt.Errorf("server.admin.listen: %w", err)
	}
	if ip := net.ParseIP(host); host == "" || (ip != nil && ip.IsUnspecified()) {
		host = "127.0.0.1"
	}
	return "http://" + net.JoinHostPort(host, port), p.Server.Admin.Token.Reveal(), nil
}
