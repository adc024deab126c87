package main

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
	"os/user"
	"strings"
	"time"

	"github.com/headgate/headgate/policies"
	"github.com/spf13/cobra"
	"github.com/spf13/pflag"
)

// adminAPI is how commands talk to a running gateway.
type adminAPI struct {
	base, token string
	client      http.Client
}

// adminFlags are the ways to find a gateway: by its policy, or by --admin and
// HEADGATE_ADMIN_TOKEN.
type adminFlags struct {
	files []string
	url   string
}

func (f *adminFlags) add(flags *pflag.FlagSet) {
	policyFlag(flags, &f.files)
	flags.StringVar(&f.url, "admin", "", "`URL` of the gateway's admin listener, instead of what the policy says; its token is then in HEADGATE_ADMIN_TOKEN")
}

// open returns the API of the gateway that the flags name.
func (f *adminFlags) open() (*adminAPI, error) {
	api := &adminAPI{client: http.Client{Timeout: time.Minute}}
	if f.url != "" {
		api.base, api.token = strings.TrimSuffix(f.url, "/"), os.Getenv("HEADGATE_ADMIN_TOKEN")
		if !strings.Contains(api.base, "://") {
			api.base = "http://" + api.base
		}
		return api, nil
	}
	p, found := policies.LoadFiles(f.files, policies.LoadOptions{})
	if err := found.Err(); err != nil {
		return nil, fmt.Errorf("to find the gateway, its policy is needed, or --admin URL: %w", err)
	}
	if p.Server.Admin.Listen == "off" {
		return nil, errors.New("the policy has no admin listener: server.admin.listen is off")
	}
	host, port, err := net.SplitHostPort(p.Server.Admin.Listen)
	if err != nil {
		return nil, fmt.Errorf("server.admin.listen: %w", err)
	}
	if ip := net.ParseIP(host); host == "" || (ip != nil && ip.IsUnspecified()) {
		host = "127.0.0.1"
	}
	api.base, api.token = "http://"+net.JoinHostPort(host, port), p.Server.Admin.Token
	return api, nil
}

// question is what a command asks the admin API.
type question struct {
	method, path string
	body         any    // nil: none
	what         string // the answer is, for an error
}

// ask prints the gateway's answer to a question: as it is with asJSON, or else as write does.
func ask[T any](cmd *cobra.Command, flags *adminFlags, asJSON bool, q question, write func(io.Writer, T) error) error {
	api, err := flags.open()
	if err != nil {
		return failed(err)
	}
	text, err := api.call(cmd.Context(), q.method, q.path, q.body)
	if err != nil {
		return failed(err)
	}
	if asJSON {
		_, err = cmd.OutOrStdout().Write(text)
		return failed(err)
	}
	var answer T
	if err := json.Unmarshal(text, &answer); err != nil {
		return failed(fmt.Errorf("the gateway's answer is not %s: %w", q.what, err))
	}
	return failed(write(cmd.OutOrStdout(), answer))
}

func jsonFlag(cmd *cobra.Command, asJSON *bool) {
	cmd.Flags().BoolVar(asJSON, "json", false, "print what the admin API answers")
}

// call sends a request and returns the answer's body. An answer of 400 or
// above is an error that says what the gateway said.
func (a *adminAPI) call(ctx context.Context, method, path string, body any) ([]byte, error) {
	var content io.Reader
	if body != nil {
		text, err := json.Marshal(body)
		if err != nil {
			return nil, err
		}
		content = bytes.NewReader(text)
	}
	r, err := http.NewRequestWithContext(ctx, method, a.base+path, content)
	if err != nil {
		return nil, err
	}
	if a.token != "" {
		r.Header.Set("Authorization", "Bearer "+a.token)
	}
	if who, err := user.Current(); err == nil {
		r.Header.Set("Headgate-Author", who.Username)
	}
	res, err := a.client.Do(r)
	if err != nil {
		return nil, fmt.Errorf("the gateway cannot be reached: %w", err)
	}
	defer res.Body.Close()
	text, err := io.ReadAll(io.LimitReader(res.Body, 64<<20))
	if err != nil {
		return nil, fmt.Errorf("the gateway's answer broke off: %w", err)
	}
	if res.StatusCode < 400 {
		return text, nil
	}
	var problem struct{ Detail string }
	if json.Unmarshal(text, &problem) == nil && problem.Detail != "" {
		return nil, fmt.Errorf("the gateway answers %d: %s", res.StatusCode, problem.Detail)
	}
	return nil, fmt.Errorf("the gateway answers %d: %s", res.StatusCode, strings.TrimSpace(string(text)))
}
