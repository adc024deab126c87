package main

import (
	_ "embed"
	"log/slog"

	"github.com/headgate/headgate/gateway/server"
	"github.com/headgate/headgate/policies"
)

// The policy is part of the program, so that it runs from any folder.
//
//go:embed headgate.yaml
var policyFile []byte

// startGateway starts a gateway that finds the policy's variables by env.
// Shared holds what the gateways have in common where the policy names no Redis.
func startGateway(env func(string) (string, bool), shared *server.Shared, log *slog.Logger) (*server.Server, error) {
	policy, problems := policies.Parse("headgate.yaml", policyFile, policies.LoadOptions{LookupEnv: env})
	if err := problems.Err(); err != nil {
		return nil, err
	}
	gateway, err := server.New(server.Options{Policy: policy, Shared: shared, Logger: log})
	if err != nil {
		return nil, err
	}
	return gateway, gateway.Start()
}
